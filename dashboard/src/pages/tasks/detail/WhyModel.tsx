import { useState } from "react";
import type { CandidateOut, DecisionOut, ExclusionOut } from "../../../api/types";
import { Bars } from "../../../components/Charts";
import { Select } from "../../../components/Field";
import { ModelLink } from "../../../components/ModelLink";
import { Money } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT, type MessageKey } from "../../../i18n/i18n";
import { TERMS, termsOf, weightsOf, type Term } from "./scores";

export function WhyModel({ decisions }: { decisions: readonly DecisionOut[] }) {
  const t = useT();
  const [chosen, setChosen] = useState<string | null>(null);
  const decision = decisions.find((one) => one.id === chosen) ?? decisions.at(-1);
  return (
    <section className="panel" aria-labelledby="why-title">
      <div className="spread panel-head">
        <h2 id="why-title">{t("why.title")}</h2>
        {decisions.length > 1 && decision && (
          <Select aria-label={t("why.title")} value={decision.id} onChange={(event) => setChosen(event.target.value)}>
            {decisions.map((one, index) => (
              <option key={one.id} value={one.id}>
                {t("why.decision", { number: index + 1, count: decisions.length })}
              </option>
            ))}
          </Select>
        )}
      </div>
      {decision ? <Decision decision={decision} /> : <p className="muted">{t("why.none")}</p>}
    </section>
  );
}

function Decision({ decision }: { decision: DecisionOut }) {
  const t = useT();
  const candidates = decision.candidates;
  const weights = weightsOf(candidates);
  const lines = candidates.map((one) => ({
    key: one.model,
    name: <ModelLink name={one.model} />,
    terms: termsOf(one, weights),
    total: one.utility,
    marked: one.model === decision.chosen,
  }));
  const used = TERMS.filter((term) => lines.some((line) => line.terms.some((one) => one.name === term)));
  const together = used.includes("together");
  return (
    <div className="stack">
      <DecisionSummary decision={decision} />
      {lines.length > 0 && (
        <Bars lines={lines} order={used} termLabel={(name) => t(`why.${name as Term}`)} label={t("why.bars")} />
      )}
      {together && <p className="muted small">{t("why.together_hint")}</p>}
      {candidates.length > 0 && (
        <details>
          <summary>{t("why.table")}</summary>
          <Terms candidates={candidates} terms={used} lines={lines} />
        </details>
      )}
      <ExcludedList excluded={decision.excluded} />
    </div>
  );
}

/** The chosen model, the reason and the margin, as sentences. */
function DecisionSummary({ decision }: { decision: DecisionOut }) {
  const t = useT();
  const formats = useFormats();
  const { chosen, answered, kind, margin, task_type: type, task_type_source: source } = decision;
  const confidence = decision.task_type_confidence;
  const sentences: string[] = [];
  if (!chosen) sentences.push(t("why.nobody"));
  else if (["exploit", "explore", "sticky", "fallback", "only"].includes(kind)) {
    sentences.push(t(`why.${kind}` as MessageKey, { model: chosen }));
  }
  if (answered && answered !== chosen) sentences.push(t("why.answered", { model: answered }));
  if (margin !== null && decision.candidates.length > 1) {
    sentences.push(t(margin < 0 ? "why.margin_behind" : "why.margin", { margin: formats.number(Math.abs(margin), 3) }));
  }
  if (source === "caller") sentences.push(t("why.type_caller", { type }));
  else if (source === "classifier" && confidence !== null) {
    sentences.push(t("why.type_classifier", { type, confidence: formats.percent(confidence) }));
  } else sentences.push(t("why.type_default", { type }));
  return <p className="prose">{sentences.join(" ")}</p>;
}

interface TermsProps {
  candidates: readonly CandidateOut[];
  terms: readonly Term[];
  lines: readonly { key: string; terms: { name: Term; value: number }[] }[];
}

function Terms({ candidates, terms, lines }: TermsProps) {
  const t = useT();
  const { number, duration } = useFormats();
  return (
    <div className="plain-box" tabIndex={0} role="region" aria-label={t("why.table")}>
      <table className="plain">
        <thead>
          <tr>
            <th scope="col">{t("why.candidate")}</th>
            {terms.map((term) => (
              <th key={term} scope="col" className="table-end">
                {t(`why.${term}`)}
              </th>
            ))}
            <th scope="col" className="table-end">{t("why.utility")}</th>
            <th scope="col" className="table-end">{t("why.measured")}</th>
            <th scope="col" className="table-end">{t("why.expected_cost")}</th>
            <th scope="col" className="table-end">{t("why.expected_time")}</th>
          </tr>
        </thead>
        <tbody>
          {candidates.map((one, index) => (
            <tr key={one.model}>
              <th scope="row">
                <ModelLink name={one.model} />
              </th>
              {terms.map((term) => {
                const value = lines[index]?.terms.find((line) => line.name === term)?.value ?? 0;
                return (
                  <td key={term} className="table-end">
                    {number(value, 3)}
                  </td>
                );
              })}
              <td className="table-end">{number(one.utility, 3)}</td>
              <td className="table-end">{number(one.n, 1)}</td>
              <td className="table-end">{one.expected_cost === null ? t("why.price_unknown") : <Money usd={one.expected_cost} />}</td>
              <td className="table-end">
                {one.expected_latency_s === null ? t("why.unmeasured") : duration(one.expected_latency_s)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const REASONS = ["context", "capability", "not_local", "budget", "breaker", "unusable", "tried", "not_named", "canary"];

function ExcludedList({ excluded }: { excluded: readonly ExclusionOut[] }) {
  const t = useT();
  if (excluded.length === 0) return null;
  return (
    <div>
      <h3>{t("why.excluded")}</h3>
      <ul className="excluded">
        {excluded.map(({ model, reason, detail }) => (
          <li key={model}>
            <strong>
              <ModelLink name={model} />
            </strong>: {REASONS.includes(reason) ? t(`why.excluded_${reason}` as MessageKey) : reason}
            {detail && <span className="muted"> ({detail})</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}
