import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Problem } from "../../../api/problem";
import { projectKey } from "../../../api/queries";
import { ErrorState } from "../../../components/ErrorState";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { useFormats } from "../../../i18n/format";
import { translate, useT } from "../../../i18n/i18n";
import { Installed } from "./Installed";
import { NotInstalled } from "./NotInstalled";
import { PullForm } from "./PullForm";
import { Pulls } from "./Pulls";
import { ended, ENDS } from "./pulls";
import { ollamaQuery, pullsQuery, type OllamaOut, type PullOut, type Which } from "./queries";
import "./ollama.css";

/** The models on the Ollama server of a provider: pull, delete, what is loaded. For those who may manage the provider. */
export function OllamaModels({ providerId, own }: Which) {
  const t = useT();
  const formats = useFormats();
  const which = { providerId, own };
  const query = useQuery(ollamaQuery(which));
  const pulls = useQuery(pullsQuery(which));
  const news = useEndedPulls(which, pulls.data);
  return (
    <div className="sections">
      <p className="visually-hidden" role="status">
        {news}
      </p>
      <Section title={t("ollama.pull_title")} detail={t("ollama.pull_detail")}>
        <PullForm which={which} />
        {pulls.error && <ErrorState problem={pulls.error} onRetry={() => void pulls.refetch()} compact />}
        <Pulls which={which} pulls={pulls.data ?? []} />
      </Section>
      <Section title={t("ollama.installed")} detail={query.data?.ok ? summary(query.data, formats.bytes) : undefined}>
        <Loaded query={query}>
          {(models) =>
            models.problem ? (
              <ErrorState problem={unusable(models.problem)} onRetry={() => void query.refetch()} />
            ) : (
              <>
                <NotInstalled which={which} models={models.not_installed} pulls={pulls.data ?? []} />
                <Installed which={which} models={models} />
              </>
            )
          }
        </Loaded>
      </Section>
    </div>
  );
}

/** A text for screen readers when a pull has ended; the lists are then read again. */
function useEndedPulls(which: Which, pulls: readonly PullOut[] | undefined): string {
  const client = useQueryClient();
  const before = useRef<readonly PullOut[]>([]);
  const [news, setNews] = useState("");
  useEffect(() => {
    if (!pulls) return;
    const done = ended(before.current, pulls);
    before.current = pulls;
    if (done.length === 0) return;
    const texts = done.flatMap(({ state, model }) => (state === "running" ? [] : [translate(ENDS[state], { name: model })]));
    setNews(texts.join(" "));
    void client.invalidateQueries({ queryKey: projectKey("ollama", which.providerId) });
  }, [pulls, client, which.providerId]);
  return news;
}

function summary({ installed, loaded }: OllamaOut, bytes: (value: number) => string): string {
  const memory = loaded.reduce((sum, model) => sum + (model.memory ?? 0), 0);
  const count = translate("ollama.count", { count: installed.length });
  if (loaded.length === 0) return `${count} ${translate("ollama.none_loaded")}`;
  return `${count} ${translate("ollama.loaded_count", { count: loaded.length, memory: bytes(memory) })}`;
}

function unusable({ cause, remedy }: NonNullable<OllamaOut["problem"]>): Problem {
  const detail = `${cause}. ${remedy}.`;
  return new Problem({ title: translate("ollama.unusable"), status: 422, code: "provider_unusable", detail, errors: [] });
}
