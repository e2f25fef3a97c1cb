import { useMemo, useState } from "react";
import type { FindingOut } from "../../../api/types";
import { Button } from "../../../components/Button";
import { useT } from "../../../i18n/i18n";
import { placeFindings } from "./answer";
import { Findings } from "./Findings";

/** Each line is a DOM element, so the number of lines is limited. */
const MAX_LINES = 1500;

/** The answer with line numbers, and findings below their lines. */
export function AnswerText({ text, findings }: { text: string; findings: readonly FindingOut[] }) {
  const t = useT();
  const [all, setAll] = useState(false);
  const lines = useMemo(() => text.replace(/\n$/, "").split("\n"), [text]);
  const { byLine, whole } = useMemo(() => placeFindings(findings, lines.length), [findings, lines.length]);
  const shown = all ? lines : lines.slice(0, MAX_LINES);
  const hidden = [...byLine].filter(([line]) => line > shown.length).flatMap(([, list]) => list);
  const above = [...whole, ...hidden];
  return (
    <>
      {above.length > 0 && <Findings findings={above} />}
      <ol className="lines" aria-label={t("answer.lines")} tabIndex={0}>
        {shown.map((line, index) => {
          const found = byLine.get(index + 1);
          return (
            <li key={index} className={found ? "line line-found" : "line"}>
              <span className="line-number" aria-hidden>
                {index + 1}
              </span>
              <div>
                <code className="line-text">{line || " "}</code>
                {found && <Findings findings={found} lines={false} />}
              </div>
            </li>
          );
        })}
      </ol>
      {shown.length < lines.length && (
        <p className="row muted">
          {t("answer.cut", { count: lines.length - shown.length })}
          <Button size="small" onClick={() => setAll(true)}>
            {t("answer.show_all")}
          </Button>
        </p>
      )}
    </>
  );
}
