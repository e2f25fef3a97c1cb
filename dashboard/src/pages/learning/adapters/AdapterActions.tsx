import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../../api/client";
import type { Adapter } from "../../../api/learning";
import { projectKey, useCan } from "../../../api/queries";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { showToast } from "../../../components/Toast";
import { translate, useT } from "../../../i18n/i18n";
import { adaptersQuery } from "../queries";
import { actionsOf, type AdapterAction } from "./actions";

/** The actions on an adapter. Each asks for confirmation and describes its effects. */
export function AdapterActions({ adapter, small }: { adapter: Adapter; small?: boolean }) {
  const t = useT();
  const may = useCan("training:write");
  const client = useQueryClient();
  const [asked, setAsked] = useState<AdapterAction | null>(null);
  const others = useQuery({ ...adaptersQuery(), enabled: may }).data;
  const acts = may ? actionsOf(adapter, others) : [];
  if (acts.length === 0) return null;
  const { base, name } = adapter;

  async function run(act: AdapterAction) {
    // The response to a rollback may name another adapter, when someone else promoted a canary in the meantime.
    const moved = await send(act, adapter);
    showToast(translate(`adapter.did_${act}`, { name: moved.name }));
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
          <p>{t(detailOf(asked, adapter), { name, base })}</p>
          {asked === "promote" && adapter.reason && <p className="muted">{adapter.reason}</p>}
        </ConfirmDialog>
      )}
    </div>
  );
}

/** A canary serves beside the live adapter and does not replace it. */
function detailOf(act: AdapterAction, { state }: Adapter) {
  if (act === "promote" && state === "needs_approval") return "adapter.promote_detail_trial";
  if (act === "roll_back" && state === "canary") return "adapter.roll_back_detail_trial";
  return `adapter.${act}_detail` as const;
}

function send(act: AdapterAction, { id, base }: Adapter): Promise<Adapter> {
  const params = { path: { adapter_id: id } };
  if (act === "roll_back") return ok(api.POST("/api/adapters/roll-back", { body: { base } }));
  if (act === "delete") return ok(api.DELETE("/api/adapters/{adapter_id}", { params }));
  return ok(api.POST(`/api/adapters/{adapter_id}/${act}`, { params }));
}
