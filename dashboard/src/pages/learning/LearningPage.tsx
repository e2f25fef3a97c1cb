import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { ListChecks } from "lucide-react";
import { useCan, useMe } from "../../api/queries";
import { EmptyState } from "../../components/EmptyState";
import { Section } from "../../components/Section";
import { SkeletonRows } from "../../components/Skeleton";
import { useT } from "../../i18n/i18n";
import { Adapters } from "./adapters/Adapters";
import { Counts } from "./label/Counts";
import { LearningFrame } from "./LearningFrame";
import { statsQuery } from "./queries";
import { FineTune } from "./runs/FineTune";
import { Runs } from "./runs/Runs";

/** The overview of labels, training runs and adapters. */
export function LearningPage() {
  const t = useT();
  const known = useMe() !== undefined;
  const rows = useCan("dataset:read");
  const training = useCan("training:read");
  const train = useCan("training:write");
  return (
    <LearningFrame title={t("learning.title")} detail={t("learning.detail")} actions={train && <FineTune />}>
      <div className="sections">
        {rows && (
          <Section title={t("learning.rows")} detail={t("learning.rows_detail")} actions={<ToLabel />}>
            <Counts />
          </Section>
        )}
        {training && <Adapters />}
        {training && <Runs />}
        {known && !training && <EmptyState title={t("learning.no_training")}>{t("learning.no_training_detail")}</EmptyState>}
        {!known && <SkeletonRows rows={8} />}
      </div>
    </LearningFrame>
  );
}

function ToLabel() {
  const t = useT();
  const may = useCan("dataset:write");
  const states = useQuery({ ...statsQuery(), enabled: may }).data?.states;
  const waiting = (states?.open ?? 0) + (states?.corrected ?? 0);
  if (!may || waiting === 0) return null;
  return (
    <Link to="/learning/label" className="button button-primary">
      <ListChecks aria-hidden />
      {t("learning.to_label", { count: waiting })}
    </Link>
  );
}
