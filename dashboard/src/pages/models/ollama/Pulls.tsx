import { TriangleAlert } from "lucide-react";
import { useState } from "react";
import { toProblem } from "../../../api/problem";
import { Button } from "../../../components/Button";
import { showToast } from "../../../components/Toast";
import { RelativeTime } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { translate, useT } from "../../../i18n/i18n";
import { PullButton } from "./PullButton";
import { ENDS, isRunning, PHASES, shareOf, unfinished } from "./pulls";
import { cancelPull, type PullOut, type Which } from "./queries";

/** The running pulls, and those that ended without their model. */
export function Pulls({ which, pulls }: { which: Which; pulls: readonly PullOut[] }) {
  const t = useT();
  const shown = [...pulls.filter(isRunning), ...unfinished(pulls)];
  if (shown.length === 0) return null;
  return (
    <ul className="pulls" aria-label={t("ollama.pulls")}>
      {shown.map((pull) => (
        <li key={pull.id} className="pull">
          {isRunning(pull) ? <Running which={which} pull={pull} /> : <Ended which={which} pull={pull} />}
        </li>
      ))}
    </ul>
  );
}

function Running({ which, pull }: { which: Which; pull: PullOut }) {
  const t = useT();
  const formats = useFormats();
  const share = shareOf(pull);
  const [cancelling, setCancelling] = useState(false);

  async function cancel() {
    setCancelling(true); // until the daemon of the pull reports its end
    try {
      await cancelPull(which, pull.id);
    } catch (error) {
      setCancelling(false);
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    }
  }

  return (
    <>
      <div className="spread">
        <strong className="pull-name">{pull.model}</strong>
        <Button size="small" busy={cancelling} aria-label={`${t("ollama.cancel")}: ${pull.model}`} onClick={() => void cancel()}>
          {t("ollama.cancel")}
        </Button>
      </div>
      <progress
        className="pull-progress"
        max={1}
        {...(share === null ? {} : { value: share })}
        aria-label={t("ollama.progress_of", { name: pull.model })}
      />
      <div className="spread small muted">
        <span>{t(PHASES[pull.phase])}</span>
        {share !== null && pull.total !== null && (
          <span className="value">
            {formats.percent(share)} · {formats.bytes(pull.completed ?? 0)} / {formats.bytes(pull.total)}
          </span>
        )}
      </div>
    </>
  );
}

function Ended({ which, pull }: { which: Which; pull: PullOut }) {
  const t = useT();
  return (
    <div className="pull-ended">
      <TriangleAlert aria-hidden />
      <div className="pull-text">
        <strong>{pull.state === "running" ? pull.model : t(ENDS[pull.state], { name: pull.model })}</strong>
        {pull.problem && (
          <p lang="en" className="pull-cause">
            {pull.problem.cause}. {pull.problem.remedy}.
          </p>
        )}
        <p className="small muted">
          <RelativeTime at={pull.ended_at ?? pull.started_at} />
        </p>
      </div>
      <PullButton which={which} model={pull.model} text={t("ollama.again")} />
    </div>
  );
}
