import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Loaded } from "../../../components/Loaded";
import { Skeleton } from "../../../components/Skeleton";
import { Num } from "../../../components/Values";
import { useT } from "../../../i18n/i18n";
import { SAMPLE_STATES } from "../filters";
import { statsQuery } from "../queries";
import { SampleBadge } from "../SampleBadge";

/** The number of samples by state; each links to the samples. */
export function Counts() {
  const t = useT();
  return (
    <Loaded query={useQuery(statsQuery())} skeleton={<Skeleton height={34} />}>
      {(stats) => (
        <ul className="counts" aria-label={t("learning.counts")}>
          {SAMPLE_STATES.map((state) => (
            <li key={state}>
              <Link to="/learning/dataset" search={{ state: [state] }} className="count">
                <SampleBadge state={state} />
                <strong>
                  <Num value={stats.states[state] ?? 0} />
                </strong>
              </Link>
            </li>
          ))}
          {stats.waiting_for_clearing > 0 && (
            <li className="muted small">{t("learning.with_secrets", { count: stats.waiting_for_clearing })}</li>
          )}
        </ul>
      )}
    </Loaded>
  );
}
