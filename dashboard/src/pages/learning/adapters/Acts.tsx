import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../../../api/client";
import type { Adapter } from "../../../api/learning";
import { projectKey, useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { actsOf, type Act } from "./acts";

/** Each asks first, and says what will happen. */
export function Acts({ adapter, small }: { adapter: Adapter; small?: boolean }) {
  const t = useT();
  const may = useCan("training:write");
  const client = useQueryClient();
  const [asked, setAsked] = useState<Act | null>(null);
  const acts = may ? actsOf(adapter) : [];
  if (acts.length === 0) return null;
  const { base, name } = adapter;

  async function run(act: Act) {
    await send(act, adapter);
    showToast(translate(`adapter.did_${act}`, { name, base }));
    await Promise.all(
      ["adapters", "overview", "models"].map((key) => client.invalidateQueries({ queryKey: projectKey(key) })),
    );
  }

  return (
    <div className="row adapter-acts">
      {acts.map((act) => (
        <Button
          key={act}
          size={small ? "small" : "normal"}
          kind={act === "promote" ? "primary" : act === "delete" || act === "refuse" ? "danger" : "plain"}
          aria-label={t(`adapter.${act}_name`, { name })}
          onClick={() => setAsked(act)}
        >
          {t(`adapter.${act}`)}
        </Button>
      ))}
      {asked && (
        <ConfirmDialog
          open
          onClose={() => setAsked(null)}
          title={t(`adapter.${asked}_title`, { name, base })}
          action={t(`adapter.${asked}`)}
          kind={asked === "promote" || asked === "roll_back" ? "primary" : "danger"}
          onConfirm={() => run(asked)}
        >
          <p>{t(`adapter.${asked}_detail`, { name, base })}</p>
          {asked === "promote" && adapter.ruling === "refuse" && <p>{t("adapter.promote_against")}</p>}
          {asked === "promote" && adapter.reason && <p className="muted">{t("adapter.ruled", { reason: adapter.reason })}</p>}
        </ConfirmDialog>
      )}
    </div>
  );
}

async function send(act: Act, { id, base }: Adapter): Promise<void> {
  const path = `/api/adapters/${encodeURIComponent(id)}`;
  if (act === "roll_back") await call("POST", "/api/adapters/roll-back", { body: { base } });
  else if (act === "delete") await call("DELETE", path);
  else await call("POST", `${path}/${act}`);
}
