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
  const [confirming, setConfirming] = useState<AdapterAction | null>(null);
  const others = useQuery({ ...adaptersQuery(), enabled: may }).data;
  const actions = may ? actionsOf(adapter, others) : [];
  if (actions.length === 0) return null;
  const { base, name } = adapter;

  async function run(action: AdapterAction) {
    // The response to a rollback may name another adapter, when someone else promoted a canary in the meantime.
    const moved = await send(action, adapter);
    showToast(translate(`adapter.did_${action}`, { name: moved.name }));
    await Promise.all(
      ["adapters", "overview", "models"].map((key) => client.invalidateQueries({ queryKey: projectKey(key) })),
    );
  }

  return (
    <div className="row adapter-actions">
      {actions.map((action) => (
        <Button
          key={action}
          size={small ? "small" : "normal"}
          kind={action === "promote" ? "primary" : action === "delete" || action === "refuse" ? "danger" : "plain"}
          aria-label={t(`adapter.${action}_name`, { name })}
          onClick={() => setConfirming(action)}
        >
          {t(`adapter.${action}`)}
        </Button>
      ))}
      {confirming && (
        <ConfirmDialog
          open
          onClose={() => setConfirming(null)}
          title={t(`adapter.${confirming}_title`, { name, base })}
          action={t(`adapter.${confirming}`)}
          kind={confirming === "promote" || confirming === "roll_back" ? "primary" : "danger"}
          onConfirm={() => run(confirming)}
        >
          <p>{t(detailOf(confirming, adapter), { name, base })}</p>
          {confirming === "promote" && adapter.reason && <p className="muted">{adapter.reason}</p>}
        </ConfirmDialog>
      )}
    </div>
  );
}

/** A canary serves beside the live adapter and does not replace it. */
function detailOf(action: AdapterAction, { state }: Adapter) {
  if (action === "promote" && state === "needs_approval") return "adapter.promote_detail_trial";
  if (action === "roll_back" && state === "canary") return "adapter.roll_back_detail_trial";
  return `adapter.${action}_detail` as const;
}

function send(action: AdapterAction, { id, base }: Adapter): Promise<Adapter> {
  const params = { path: { adapter_id: id } };
  if (action === "roll_back") return ok(api.POST("/api/adapters/roll-back", { body: { base } }));
  if (action === "delete") return ok(api.DELETE("/api/adapters/{adapter_id}", { params }));
  return ok(api.POST(`/api/adapters/{adapter_id}/${action}`, { params }));
}
