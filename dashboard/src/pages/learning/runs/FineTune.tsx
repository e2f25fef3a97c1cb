import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Sparkles, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { api, ok } from "../../../api/client";
import type { Base, Plan, Room } from "../../../api/learning";
import { projectKey } from "../../../api/queries";
import { Badge } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { Dialog, DialogActions } from "../../../components/Dialog";
import { EmptyState } from "../../../components/EmptyState";
import { ErrorState } from "../../../components/ErrorState";
import { Field, Select } from "../../../components/Field";
import { Loaded } from "../../../components/Loaded";
import { Fact } from "../../../components/Panel";
import { Num } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { useSubmit } from "../../entry/useSubmit";
import { basesQuery } from "../queries";
import { PlanReview } from "./PlanReview";

export function FineTune() {
  const t = useT();
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button kind="primary" icon={<Sparkles aria-hidden />} onClick={() => setOpen(true)}>
        {t("tune.open")}
      </Button>
      {open && <FineTuneDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function FineTuneDialog({ onClose }: { onClose: () => void }) {
  const t = useT();
  return (
    <Dialog open onClose={onClose} title={t("tune.title")} width="wide">
      <Loaded query={useQuery(basesQuery())}>{(bases) => <Form bases={bases} onClose={onClose} />}</Loaded>
    </Dialog>
  );
}

function Form({ bases, onClose }: { bases: Base[]; onClose: () => void }) {
  const t = useT();
  const navigate = useNavigate();
  const client = useQueryClient();
  const [base, setBase] = useState(bases.find(({ trainable }) => trainable)?.name ?? "");
  const plan = useQuery({
    queryKey: projectKey("training", "plan", base),
    queryFn: ({ signal }) => ok(api.POST("/api/training/plan", { body: { base }, signal })),
    enabled: base !== "",
    // Free memory and approved samples change in the background.
    gcTime: 0,
  });
  const { busy, problem, submit } = useSubmit(async () => {
    const run = await ok(api.POST("/api/training", { body: { base } }));
    onClose();
    void client.invalidateQueries({ queryKey: projectKey("training", "runs") });
    await navigate({ to: "/learning/runs/$runId", params: { runId: run.id } });
  });
  const not = bases.filter(({ trainable }) => !trainable);
  if (base === "") return <NoBase bases={not} />;
  return (
    <form className="stack" onSubmit={submit}>
      <Field label={t("run.base")} hint={not.length > 0 ? t("tune.not_all", { count: not.length }) : undefined}>
        <Select value={base} onChange={(event) => setBase(event.target.value)}>
          {bases.map(({ name, trainable }) => (
            <option key={name} value={name} disabled={!trainable}>
              {name}
            </option>
          ))}
        </Select>
      </Field>
      {not.length > 0 && <Reasons bases={not} />}
      <section aria-labelledby="plan-title" className="stack plan">
        <h3 id="plan-title">{t("tune.plan")}</h3>
        <Loaded query={plan}>{(shown) => <PlanView key={shown.base} plan={shown} />}</Loaded>
      </section>
      {problem && <ErrorState problem={problem} compact />}
      <DialogActions>
        <Button onClick={onClose}>{t("common.cancel")}</Button>
        <Button type="submit" kind="primary" busy={busy} disabled={!plan.data || plan.data.problems.length > 0}>
          {t("tune.start")}
        </Button>
      </DialogActions>
    </form>
  );
}

function NoBase({ bases }: { bases: Base[] }) {
  const t = useT();
  return (
    <>
      <EmptyState title={t("tune.no_base")}>{t("tune.no_base_detail")}</EmptyState>
      <Reasons bases={bases} />
    </>
  );
}

function Reasons({ bases }: { bases: Base[] }) {
  const t = useT();
  if (bases.length === 0) return null;
  return (
    <details>
      <summary className="small">{t("tune.why_not")}</summary>
      <dl className="reasons small">
        {bases.map(({ name, reason }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd className="muted">{reason ?? t("common.unknown")}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function PlanView({ plan }: { plan: Plan }) {
  const t = useT();
  return (
    <>
      {plan.problems.length > 0 && (
        <div className="notice notice-warn" role="alert">
          <TriangleAlert aria-hidden />
          <div className="notice-text">
            <strong>{t("tune.problems")}</strong>
            <ul className="notice-list">
              {plan.problems.map((one) => (
                <li key={one}>{one}</li>
              ))}
            </ul>
          </div>
        </div>
      )}
      <dl className="facts">
        <Fact name={t("tune.rows")}>
          <Num value={plan.rows} />
        </Fact>
        <Fact name={t("tune.training")}>
          <Num value={plan.training} />
        </Fact>
        {plan.selection > 0 && (
          <Fact name={t("tune.selection")}>
            <Num value={plan.selection} />
          </Fact>
        )}
        <Fact name={t("tune.held_out")}>
          <Num value={plan.held_out} />
        </Fact>
        <Fact name={t("tune.replayed")}>
          <Num value={plan.replayed} />
        </Fact>
        <Fact name={t("tune.memory")}>
          <RoomView room={plan.memory_bytes} />
        </Fact>
        <Fact name={t("tune.disk")}>
          <RoomView room={plan.disk_bytes} />
        </Fact>
        <Fact name={t("tune.device")}>{plan.device}</Fact>
      </dl>
      <p className="muted small">{t("tune.after")}</p>
      {plan.rows > 0 && <PlanReview plan={plan} />}
    </>
  );
}

function RoomView({ room: { needed, free } }: { room: Room }) {
  const t = useT();
  const formats = useFormats();
  const text = t("tune.room", { needed: formats.bytes(needed), free: formats.bytes(free) });
  if (needed <= free) return text;
  return (
    <Badge tone="bad" icon={<TriangleAlert aria-hidden />}>
      {text}
    </Badge>
  );
}
