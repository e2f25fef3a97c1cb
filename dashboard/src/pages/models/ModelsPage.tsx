import { getRouteApi } from "@tanstack/react-router";
import { PageHeader } from "../../components/PageHeader";
import { Select } from "../../components/Field";
import { useT } from "../../i18n/i18n";
import { CacheAndJudge } from "./CacheAndJudge";
import { Catalogue } from "./Catalogue";
import { LeaderboardSection } from "./Leaderboard";
import { AddModelsLink } from "./providers/AddModelsLink";
import { ProvidersSection } from "./providers/ProvidersSection";
import { Traffic } from "./Traffic";
import "./models.css";

const route = getRouteApi("/app/models");
const SPANS = [7, 14, 30, 90];

export function ModelsPage() {
  const t = useT();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const days = SPANS.includes(Number(search.days)) ? Number(search.days) : 30;
  return (
    <>
      <PageHeader title={t("models.title")}>
        <Select
          aria-label={t("models.span")}
          value={days}
          onChange={(event) => void navigate({ search: { days: event.target.value }, replace: true })}
        >
          {SPANS.map((span) => (
            <option key={span} value={span}>
              {t("models.last_days", { count: span })}
            </option>
          ))}
        </Select>
        <AddModelsLink primary />
      </PageHeader>
      <div className="sections">
        <LeaderboardSection days={days} />
        <Traffic days={days} />
        <Catalogue />
        <ProvidersSection />
        <CacheAndJudge days={days} />
      </div>
    </>
  );
}
