import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, ok } from "../../api/client";
import { projectKey, useCan } from "../../api/queries";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { Loaded } from "../../components/Loaded";
import { Section } from "../../components/Section";
import { showToast } from "../../components/Toast";
import { Duration, Money, Num, Percent } from "../../components/Values";
import { translate, useT } from "../../i18n/i18n";
import { Fact } from "./Catalogue";
import { cacheQuery, judgeQuery } from "./queries";

export function CacheAndJudge({ days }: { days: number }) {
  return (
    <>
      <Cache />
      <Judge days={days} />
    </>
  );
}

function Cache() {
  const t = useT();
  const query = useQuery(cacheQuery());
  const may = useCan("cache:manage");
  const client = useQueryClient();
  const [confirming, setConfirming] = useState(false);
  async function flush() {
    const { entries } = await ok(api.POST("/api/cache/flush"));
    showToast(translate("models.flushed", { count: entries }));
    await client.invalidateQueries({ queryKey: projectKey("cache") });
  }
  return (
    <Section
      title={t("models.cache")}
      detail={t("models.cache_detail")}
      actions={
        may && (
          <Button disabled={!query.data?.entries} onClick={() => setConfirming(true)}>
            {t("models.flush")}
          </Button>
        )
      }
    >
      <Loaded query={query}>
        {(cache) => {
          const asks = cache.hits + cache.misses;
          return (
            <dl className="model-facts">
              <Fact name={t("models.entries")}>
                <Num value={cache.entries} />
              </Fact>
              <Fact name={t("models.size")}>
                <Num value={cache.bytes / 1024} digits={1} /> KiB
              </Fact>
              <Fact name={t("models.hits")}>
                <Num value={cache.hits} /> {asks > 0 && <span className="muted">(<Percent share={cache.hits / asks} />)</span>}
              </Fact>
              <Fact name={t("models.misses")}>
                <Num value={cache.misses} />
              </Fact>
              <Fact name={t("models.saved_usd")}>
                <Money usd={cache.saved_usd} />
              </Fact>
              <Fact name={t("models.saved_time")}>
                <Duration seconds={cache.saved_s} />
              </Fact>
              <Fact name={t("models.saved_tokens")}>
                <Num value={cache.saved_input_tokens + cache.saved_output_tokens} />
              </Fact>
            </dl>
          );
        }}
      </Loaded>
      <ConfirmDialog open={confirming} onClose={() => setConfirming(false)} title={t("models.flush_title")} action={t("models.flush")} onConfirm={flush}>
        {t("models.flush_detail")}
      </ConfirmDialog>
    </Section>
  );
}

function Judge({ days }: { days: number }) {
  const t = useT();
  const query = useQuery(judgeQuery(days));
  return (
    <Section title={t("models.judge")} detail={t("models.judge_detail")}>
      <Loaded query={query}>
        {(judge) => (
          <dl className="model-facts">
            <Fact name={t("models.judged")}>
              <Num value={judge.judged} />
            </Fact>
            <Fact name={t("models.judge_share")}>
              <Percent share={judge.share} />
            </Fact>
            <Fact name={t("models.calls")}>
              <Num value={judge.calls} />
              {judge.failures > 0 && <span className="muted"> {t("models.of_them_failed", { count: judge.failures })}</span>}
            </Fact>
            <Fact name={t("models.cost")}>
              <Money usd={judge.cost_usd} />
              {judge.unpriced > 0 && <span className="muted"> {t("models.unpriced", { count: judge.unpriced })}</span>}
            </Fact>
            <Fact name={t("models.tokens")}>
              <Num value={judge.input_tokens} /> / <Num value={judge.output_tokens} />
            </Fact>
          </dl>
        )}
      </Loaded>
    </Section>
  );
}
