import { useQuery, useQueryClient } from "@tanstack/react-query";
import { CircleAlert, CircleCheck, CircleHelp, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { api, ok } from "../../api/client";
import type { ModelOut } from "../../api/types";
import { toProblem } from "../../api/problem";
import { modelsQuery, projectKey, useMe } from "../../api/queries";
import { Badge } from "../../components/Badge";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { Loaded } from "../../components/Loaded";
import { ModelLink } from "../../components/ModelLink";
import { Section } from "../../components/Section";
import { showToast } from "../../components/Toast";
import { Duration, Money, Num, Unknown } from "../../components/Values";
import { useFormats } from "../../i18n/format";
import { translate, useT } from "../../i18n/i18n";
import { families } from "./families";
import { AddModelsLink } from "./providers/AddModelsLink";
import { Origin } from "./model/Origin";

export function Catalogue() {
  const t = useT();
  // Circuit breakers open and close without an event.
  const query = useQuery({ ...modelsQuery(), refetchInterval: 15_000 });
  return (
    <Section title={t("models.catalogue")} detail={t("models.catalogue_detail")}>
      <Loaded query={query}>
        {(models) =>
          models.length === 0 ? (
            <EmptyState title={t("models.none")} action={<AddModelsLink primary />}>
              {t("models.none_detail")}
            </EmptyState>
          ) : (
            <div className="model-cards">
              {families(models).map(({ model, adapters }) => (
                <div key={model.name} className="model-family">
                  <Card model={model} />
                  {adapters.length > 0 && (
                    <div className="model-adapters" role="group" aria-label={t("models.adapters_of", { base: model.name })}>
                      {adapters.map((adapter) => (
                        <Card key={adapter.name} model={adapter} />
                      ))}
                    </div>
                  )}
                </div>
              ))}
            </div>
          )
        }
      </Loaded>
    </Section>
  );
}

/** Values that an adapter shares with its base model are shown there. */
function Card({ model }: { model: ModelOut }) {
  const t = useT();
  const formats = useFormats();
  const { price, figures } = model;
  return (
    <article className="model-card" aria-label={model.name}>
      <div className="spread">
        <h3>
          <ModelLink name={model.name} />
        </h3>
        <Health state={model.health} />
      </div>
      {model.health_detail && <p className="muted small model-detail">{model.health_detail}</p>}
      <dl className="model-facts">
        {model.share < 1 && <Fact name={t("models.on_trial")}>{t("models.on_trial_for", { share: formats.percent(model.share) })}</Fact>}
        {model.base === null && (
          <>
            <Fact name={t("models.where")}>{t(model.local ? "models.local" : "models.remote")}</Fact>
            <Fact name={t("models.price")}>
              {price ? `${formats.money(price.input)} / ${formats.money(price.output)}` : <Unknown />}
            </Fact>
            <Fact name={t("models.context")}>
              <Num value={model.context} />
            </Fact>
            <Fact name={t("models.answer_limit")}>
              <Num value={model.answer_limit} />
            </Fact>
          </>
        )}
        <Fact name={t("models.calls")}>
          {formats.number(figures?.calls ?? 0)}
          {figures && figures.calls > figures.successes && (
            <span className="muted"> {t("models.of_them_failed", { count: figures.calls - figures.successes })}</span>
          )}
        </Fact>
        <Fact name={t("models.spend")}>
          <Money usd={figures?.cost_usd} />
        </Fact>
        <Fact name={t("models.quality")}>
          {figures?.quality != null ? formats.number(figures.quality, 2) : <span className="muted">{t("common.unmeasured")}</span>}
        </Fact>
        <Fact name={t("models.first_token")}>
          <Duration seconds={figures?.first_token_s} />
        </Fact>
        {model.adjustments.length > 0 && <Fact name={t("models.adjusts")}>{model.adjustments.join("; ")}</Fact>}
        {model.base === null && (
          <Fact name={t("providers.origin")}>
            <Origin model={model} />
          </Fact>
        )}
        {model.base === null && model.specialties.length > 0 && <Fact name={t("models.specialties")}>{model.specialties.join(", ")}</Fact>}
      </dl>
      <TryAgain model={model} />
    </article>
  );
}

export function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

export function Health({ state }: { state: string }) {
  const t = useT();
  if (state === "healthy") return <Badge tone="good" icon={<CircleCheck aria-hidden />}>{t("models.healthy")}</Badge>;
  if (state === "degraded") return <Badge tone="warn" icon={<TriangleAlert aria-hidden />}>{t("models.degraded")}</Badge>;
  if (state === "unhealthy") return <Badge tone="bad" icon={<CircleAlert aria-hidden />}>{t("models.unhealthy")}</Badge>;
  return <Badge icon={<CircleHelp aria-hidden />}>{state}</Badge>;
}

/** Closes the circuit breaker of an unhealthy model. Operators only. */
export function TryAgain({ model }: { model: ModelOut }) {
  const t = useT();
  const operator = useMe()?.operator ?? false;
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  if (!operator || model.health === "healthy") return null;
  async function reset() {
    setBusy(true);
    try {
      await ok(api.POST("/api/models/reset", { body: { name: model.name } }));
      showToast(translate("models.reset_done", { name: model.name }));
      await client.invalidateQueries({ queryKey: projectKey("models") });
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  return (
    <div>
      <Button size="small" busy={busy} title={t("models.reset_hint")} onClick={() => void reset()}>
        {t("common.retry")}
      </Button>
    </div>
  );
}
