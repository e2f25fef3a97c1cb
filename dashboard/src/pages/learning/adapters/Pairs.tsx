import { Link } from "@tanstack/react-router";
import { ArrowDown, ArrowUp, Equal, type LucideIcon } from "lucide-react";
import { useMemo, useState } from "react";
import type { Comparison, Pair } from "../../../api/learning";
import { Badge, type Tone } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { Toggles } from "../../../components/Filters";
import { TabLinks } from "../../../components/Tabs";
import { WordDiff } from "../../../components/WordDiff";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { titleOf } from "../../../lib/title";
import { CHANGES, changeOf, counts, sorted, type Change } from "./pairs";

const STYLES: Record<Change, { tone: Tone; icon: LucideIcon }> = {
  worse: { tone: "bad", icon: ArrowDown },
  better: { tone: "good", icon: ArrowUp },
  same: { tone: "neutral", icon: Equal },
};
/** Each pair consists of two texts and a diff. */
const PAGE = 20;

export type Part = "held_out" | "control";

export interface PairsProps {
  adapterId: string;
  part: Part;
  chosen: readonly Change[];
  comparison: Comparison;
  onChoose: (chosen: Change[] | undefined) => void;
}

/** Both answers to each prompt, worst first. */
export function Pairs({ adapterId, part, chosen, comparison, onChoose }: PairsProps) {
  const t = useT();
  const [most, setMost] = useState(PAGE);
  const found = useMemo(() => counts(comparison.pairs), [comparison]);
  const shown = useMemo(
    () => sorted(comparison.pairs).filter((pair) => chosen.length === 0 || chosen.includes(changeOf(pair))),
    [comparison, chosen],
  );
  const options = CHANGES.filter((change) => found[change] > 0 || chosen.includes(change));
  return (
    <div className="stack">
      <TabLinks label={t("report.pairs")}>
        {(["held_out", "control"] as const).map((one) => (
          <Link
            key={one}
            to="/learning/adapters/$adapterId"
            params={{ adapterId }}
            search={{ part: one }}
            replace
            resetScroll={false}
            activeProps={{ "aria-current": undefined }}
            aria-current={one === part ? "page" : undefined}
          >
            {t(`report.${one}`)}
          </Link>
        ))}
      </TabLinks>
      <Toggles
        label={t("pair.filter")}
        options={options}
        chosen={chosen}
        name={(change) => t("pair.filter_of", { change: t(`pair.${change}`), number: found[change] })}
        onChange={onChoose}
      />
      {shown.length === 0 && <p className="muted">{t(comparison.pairs.length > 0 ? "pair.none_match" : "pair.none")}</p>}
      <ol className="pairs">
        {shown.slice(0, most).map((pair) => (
          <PairView key={pair.id} pair={pair} />
        ))}
      </ol>
      {shown.length > most && (
        <div>
          <Button onClick={() => setMost(most + PAGE)}>{t("common.more")}</Button>
        </div>
      )}
    </div>
  );
}

function PairView({ pair }: { pair: Pair }) {
  const t = useT();
  const formats = useFormats();
  const change = changeOf(pair);
  const { tone, icon: Icon } = STYLES[change];
  const quality = (value: number) => formats.number(value, 2);
  return (
    <li className="pair">
      <div className="row pair-head">
        <Badge tone={tone} icon={<Icon aria-hidden />}>
          {t(`pair.${change}`)}
        </Badge>
        <span className="truncate">{titleOf(pair.prompt)}</span>
      </div>
      <WordDiff
        before={pair.base}
        after={pair.candidate}
        beforeTitle={<PairTitle name={t("report.base")} quality={quality(pair.base_quality)} />}
        afterTitle={<PairTitle name={t("report.candidate")} quality={quality(pair.candidate_quality)} />}
        missing=""
      />
      <details>
        <summary className="small">{t("pair.more")}</summary>
        <dl className="pair-more">
          <dt className="muted small">{t("sample.prompt")}</dt>
          <dd>
            <pre className="prompt" tabIndex={0}>
              {pair.prompt}
            </pre>
          </dd>
          <dt className="muted small">{t("pair.wanted")}</dt>
          <dd>
            <pre className="prompt" tabIndex={0}>
              {pair.wanted}
            </pre>
          </dd>
        </dl>
      </details>
    </li>
  );
}

function PairTitle({ name, quality }: { name: string; quality: string }) {
  const t = useT();
  return (
    <>
      <span>{name}</span>
      <span className="muted">{t("pair.quality", { quality })}</span>
    </>
  );
}
