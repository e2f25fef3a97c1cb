import { useState, type FormEvent } from "react";
import type { ProviderOut, ServerProblemOut, StoredModelOut, TestOut } from "../../../api/types";
import { toProblem, type Problem } from "../../../api/problem";
import { Badge } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { Section } from "../../../components/Section";
import { showToast } from "../../../components/Toast";
import { useFormats } from "../../../i18n/format";
import { translate, useT } from "../../../i18n/i18n";
import { ChosenModels } from "./ChosenModels";
import { halfPriced, modelBody, type ChosenModel } from "./drafts";
import { ModelDialog } from "./ModelDialog";
import { ModelPicker } from "./ModelPicker";
import { openFold } from "./openFold";
import { addModels, listUpstream, removeModel, type ProviderScope } from "./providerApi";
import { ServerProblem } from "./ServerProblem";

interface Props {
  scope: ProviderScope;
  provider: ProviderOut;
}

/** The provider's models in the catalogue, and the test of its server, which lists those that can be added. */
export function ProviderModels({ scope, provider }: Props) {
  const t = useT();
  const upstream = useUpstream(scope, provider.id);
  const [picking, setPicking] = useState(false);
  const { listing, problem, serverProblem, busy } = upstream;
  async function pick() {
    await upstream.list();
    setPicking(true);
  }
  const actions = (
    <>
      <Button busy={busy} onClick={() => void upstream.list()}>
        {t("providers.test_again")}
      </Button>
      {!picking && (
        <Button kind="primary" busy={busy} onClick={() => void pick()}>
          {t("providers.add_from")}
        </Button>
      )}
    </>
  );
  return (
    <Section title={t("providers.models")} actions={actions}>
      {busy && (
        <p className="muted" role="status">
          {t("providers.testing")}
        </p>
      )}
      {problem && <ErrorState problem={problem} compact />}
      {serverProblem && <ServerProblem problem={serverProblem} />}
      {listing && !busy && !picking && <p role="status">{t("providers.answers", { count: listing.total })}</p>}
      {picking && <Adding scope={scope} provider={provider} upstream={upstream} onDone={() => setPicking(false)} />}
      <Models scope={scope} provider={provider} />
    </Section>
  );
}

function useUpstream(scope: ProviderScope, id: string) {
  const [listing, setListing] = useState<TestOut | null>(null);
  const [serverProblem, setServerProblem] = useState<ServerProblemOut | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  async function list(search?: string) {
    setBusy(true);
    setProblem(null);
    setServerProblem(null);
    try {
      const found = await listUpstream(scope, id, search);
      setServerProblem(found.problem);
      if (found.ok) setListing(found);
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setBusy(false);
    }
  }
  return { listing, serverProblem, problem, busy, list };
}

function Adding({ scope, provider, upstream, onDone }: Props & { upstream: ReturnType<typeof useUpstream>; onDone: () => void }) {
  const t = useT();
  const [chosen, setChosen] = useState<ChosenModel[]>([]);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  async function add(event: FormEvent) {
    event.preventDefault();
    if (chosen.some(halfPriced)) return;
    setBusy(true);
    setProblem(null);
    try {
      await addModels(scope, provider.id, chosen.map(modelBody));
      showToast(translate("providers.models_added", { count: chosen.length }));
      onDone();
    } catch (error) {
      setProblem(toProblem(error));
      setBusy(false);
    }
  }
  return (
    <div className="stack adding">
      <ModelPicker
        listing={upstream.listing}
        chosen={chosen}
        onChange={setChosen}
        onSearch={(search) => void upstream.list(search)}
        searching={upstream.busy}
      />
      <form className="stack" onSubmit={add} onInvalidCapture={openFold}>
        <ChosenModels chosen={chosen} local={provider.local} onChange={setChosen} />
        {problem && <ErrorState problem={problem} compact />}
        <div className="row">
          <Button type="submit" kind="primary" busy={busy} disabled={chosen.length === 0}>
            {t("providers.add_count", { count: chosen.length })}
          </Button>
          <Button onClick={onDone}>{t("common.cancel")}</Button>
        </div>
      </form>
    </div>
  );
}

function Models({ scope, provider }: Props) {
  const t = useT();
  const [editing, setEditing] = useState<StoredModelOut | null>(null);
  const [removing, setRemoving] = useState<StoredModelOut | null>(null);
  if (provider.models.length === 0) return <EmptyState title={t("providers.no_models")}>{t("providers.no_models_detail")}</EmptyState>;
  return (
    <>
      <ul className="provider-models" aria-label={t("providers.models")}>
        {provider.models.map((model) => (
          <li key={model.id} className="provider-model">
            <ModelText model={model} />
            <div className="provider-actions">
              <Button size="small" aria-label={t("providers.edit_model", { model: model.name })} onClick={() => setEditing(model)}>
                {t("providers.edit")}
              </Button>
              <Button size="small" aria-label={t("providers.remove_model", { model: model.name })} onClick={() => setRemoving(model)}>
                {t("providers.remove_short")}
              </Button>
            </div>
          </li>
        ))}
      </ul>
      {editing && <ModelDialog scope={scope} providerId={provider.id} model={editing} onClose={() => setEditing(null)} />}
      <ConfirmDialog
        open={removing !== null}
        onClose={() => setRemoving(null)}
        title={t("providers.remove_model_title", { model: removing?.name ?? "" })}
        action={t("providers.remove_short")}
        onConfirm={() => removeModel(scope, provider.id, removing?.id ?? "")}
      >
        {t("providers.remove_tasks")}
      </ConfirmDialog>
    </>
  );
}

function ModelText({ model }: { model: StoredModelOut }) {
  const t = useT();
  return (
    <div className="provider-model-text">
      <span className="break">
        <strong>{model.name}</strong> {!model.enabled && <Badge tone="warn">{t("providers.disabled")}</Badge>}
      </span>
      {model.upstream !== model.name && <span className="muted small break">{t("providers.upstream", { name: model.upstream })}</span>}
      <span className="muted small break">{useFactsOf(model).join(" · ")}</span>
    </div>
  );
}

function useFactsOf(model: StoredModelOut): string[] {
  const t = useT();
  const formats = useFormats();
  const { price, price_per_hour: perHour, context } = model;
  const at = price?.at ? ` (${formats.date(`${price.at}T12:00:00`)})` : "";
  return [
    price
      ? t("providers.fact_price", { input: formats.money(price.input), output: formats.money(price.output) }) + at
      : t(model.local ? "providers.fact_price_local" : "providers.fact_price_unknown"),
    ...(perHour != null ? [t("providers.fact_per_hour", { price: formats.money(perHour) })] : []),
    ...(context != null ? [t("providers.fact_context", { count: context })] : []),
    ...(model.capabilities.length > 0 ? [model.capabilities.join(", ")] : []),
    ...(model.specialties.length > 0 ? [t("providers.fact_specialties", { words: model.specialties.join(", ") })] : []),
  ];
}
