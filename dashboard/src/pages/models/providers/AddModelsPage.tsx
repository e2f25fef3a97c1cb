import { useState, type FormEvent } from "react";
import type { KindOut } from "../../../api/types";
import { Button } from "../../../components/Button";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { Toggles } from "../../../components/Filters";
import { PageHeader } from "../../../components/PageHeader";
import { SkeletonRows } from "../../../components/Skeleton";
import { useT } from "../../../i18n/i18n";
import { AddedStep } from "./AddedStep";
import { ChosenModels } from "./ChosenModels";
import { halfPriced, hasValidHeaders } from "./drafts";
import { KindStep } from "./KindStep";
import { ModelPicker } from "./ModelPicker";
import { openFold } from "./openFold";
import { useScopes, type ProviderScope } from "./providerApi";
import { ServerFields } from "./ServerFields";
import { ServerProblem } from "./ServerProblem";
import { Step } from "./Step";
import { useWizard, type Wizard } from "./useWizard";
import "./providers.css";

export function AddModelsPage() {
  const t = useT();
  const scopes = useScopes();
  const [round, setRound] = useState(0);
  return (
    <>
      <PageHeader title={t("providers.add_title")} detail={t("providers.add_page_detail")} />
      {!scopes ? (
        <SkeletonRows />
      ) : scopes[0] ? (
        <Steps key={round} scopes={scopes} first={scopes[0]} onAgain={() => setRound(round + 1)} />
      ) : (
        <EmptyState title={t("providers.not_allowed")}>{t("providers.not_allowed_detail")}</EmptyState>
      )}
    </>
  );
}

/** The steps below each other on one page; those already done are shown in one line. */
function Steps({ scopes, first, onAgain }: { scopes: ProviderScope[]; first: ProviderScope; onAgain: () => void }) {
  const t = useT();
  const wizard = useWizard(first);
  const { scope, step, kind, provider, names, busy } = wizard.state;
  // Not while the provider is being saved.
  const open = provider === null && step !== "added" && !(step === "models" && busy);
  return (
    <div className="steps">
      <Step
        number={1}
        title={t("providers.step_kind")}
        current={step === "kind"}
        aside={step !== "kind" && open && <Change label={t("providers.change_kind")} onClick={() => wizard.back("kind")} />}
      >
        {step === "kind" ? (
          <>
            {scopes.length > 1 && (
              <Toggles
                label={t("providers.scope")}
                options={scopes}
                chosen={[scope]}
                name={(one) => t(`providers.scope_${one}`)}
                onChange={(wanted) => wizard.set({ scope: wanted?.find((one) => one !== scope) ?? scope })}
              />
            )}
            <KindStep scope={scope} onChoose={wizard.choose} onUse={wizard.choose} />
          </>
        ) : (
          <p>
            {kind && t(`providers.kind_${kind.kind}`)} <span className="muted">· {t(`providers.scope_${scope}`)}</span>
          </p>
        )}
      </Step>
      {kind && step !== "kind" && (
        <Step
          number={2}
          title={t("providers.step_server")}
          current={step === "server"}
          aside={step === "models" && open && <Change label={t("providers.change_server")} onClick={() => wizard.back("server")} />}
        >
          {step === "server" ? <ServerForm wizard={wizard} kind={kind} /> : <ServerLine wizard={wizard} kind={kind} />}
        </Step>
      )}
      {step === "models" && (
        <Step number={3} title={t("providers.step_models")} current>
          <Models wizard={wizard} />
        </Step>
      )}
      {step === "added" && provider && (
        <Step number={3} title={t("providers.step_added", { count: names.length })} current>
          <AddedStep scope={scope} provider={provider} models={names} onAgain={onAgain} />
        </Step>
      )}
    </div>
  );
}

function ServerLine({ wizard, kind }: { wizard: Wizard; kind: KindOut }) {
  const { draft } = wizard.state;
  return (
    <p className="break">
      {draft.name} <span className="muted">· {draft.address || kind.address}</span>
    </p>
  );
}

function ServerForm({ wizard, kind }: { wizard: Wizard; kind: KindOut }) {
  const t = useT();
  const { scope, draft, busy, problem, serverProblem } = wizard.state;
  function test(event: FormEvent) {
    event.preventDefault();
    if (hasValidHeaders(draft.headers)) void wizard.test(draft);
  }
  return (
    <form className="stack" onSubmit={test} onInvalidCapture={openFold}>
      <fieldset className="server-fields" disabled={busy}>
        <ServerFields kind={kind} scope={scope} draft={draft} onChange={(part) => wizard.set({ draft: { ...draft, ...part } })} />
      </fieldset>
      {problem && <ErrorState problem={problem} compact />}
      {serverProblem && (
        <ServerProblem problem={serverProblem}>
          <Button size="small" onClick={() => wizard.set({ step: "models", listing: null, serverProblem: null })}>
            {t("providers.without_list")}
          </Button>
        </ServerProblem>
      )}
      <div className="row wrap">
        <Button type="submit" kind="primary" busy={busy}>
          {t("providers.test")}
        </Button>
        {busy && (
          <span className="muted" role="status">
            {t("providers.testing")}
          </span>
        )}
      </div>
    </form>
  );
}

function Models({ wizard }: { wizard: Wizard }) {
  const t = useT();
  const { draft, listing, chosen, provider, busy, problem, serverProblem } = wizard.state;
  function save(event: FormEvent) {
    event.preventDefault();
    if (!chosen.some(halfPriced)) void wizard.save();
  }
  return (
    <>
      <ModelPicker
        listing={listing}
        chosen={chosen}
        onChange={(models) => wizard.set({ chosen: models })}
        onSearch={(search) => void wizard.test(draft, search)}
        searching={busy}
      />
      {serverProblem && <ServerProblem problem={serverProblem} />}
      <form className="stack" onSubmit={save} onInvalidCapture={openFold}>
        <ChosenModels chosen={chosen} local={draft.local === "yes"} onChange={(models) => wizard.set({ chosen: models })} />
        {provider && problem && <p role="status">{t("providers.saved_without_models", { name: provider.name })}</p>}
        {problem && <ErrorState problem={problem} compact />}
        <div className="row wrap">
          <Button type="submit" kind="primary" busy={busy} disabled={chosen.length === 0}>
            {t(provider ? "providers.add_count" : "providers.save_count", { count: chosen.length })}
          </Button>
        </div>
      </form>
    </>
  );
}

function Change({ label, onClick }: { label: string; onClick: () => void }) {
  const t = useT();
  return (
    <Button size="small" aria-label={label} onClick={onClick}>
      {t("providers.change")}
    </Button>
  );
}
