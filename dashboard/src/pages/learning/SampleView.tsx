import { KeyRound } from "lucide-react";
import { useState, type ReactNode } from "react";
import type { SampleOut } from "../../api/types";
import { Button } from "../../components/Button";
import { ConfirmDialog } from "../../components/ConfirmDialog";
import { WordDiff } from "../../components/WordDiff";
import { useT } from "../../i18n/i18n";
import { messagesOf } from "./sample";

/** The prompt of the sample. */
export function Prompt({ sample }: { sample: SampleOut }) {
  const t = useT();
  return (
    <ol className="messages" aria-label={t("sample.prompt")} tabIndex={0}>
      {messagesOf(sample.prompt).map(({ role, text }, index) => (
        <li key={index}>
          <span className="message-role">{role}</span>
          <pre>{text}</pre>
        </li>
      ))}
    </ol>
  );
}

export function Reason({ sample }: { sample: SampleOut }) {
  const t = useT();
  return (
    <p className="sample-reason">
      <strong>{t("sample.reason")}</strong> {sample.reason}
      {sample.seen > 1 && <span className="muted"> · {t("sample.seen", { count: sample.seen })}</span>}
    </p>
  );
}

export function Outputs({ sample, title }: { sample: SampleOut; title?: ReactNode }) {
  const t = useT();
  const missing = sample.faulty_output === null ? t("sample.no_output") : t("sample.no_correction");
  return (
    <WordDiff
      before={sample.faulty_output}
      after={sample.corrected_output}
      beforeTitle={t("sample.faulty")}
      afterTitle={title ?? t("sample.corrected_output")}
      missing={missing}
    />
  );
}

/** Lists possible secrets and their places. The sample is excluded until a person has reviewed them. */
export function Secrets({ sample, onClear }: { sample: SampleOut; onClear?: () => Promise<void> }) {
  const t = useT();
  const [confirming, setConfirming] = useState(false);
  if (sample.secrets.length === 0) return null;
  return (
    <div className={sample.cleared ? "notice" : "notice notice-warn"} role="note">
      <KeyRound aria-hidden />
      <div className="notice-text">
        <strong>{t(sample.cleared ? "secrets.cleared" : "secrets.title")}</strong>
        <ul className="notice-list">
          {sample.secrets.map(({ kind, where }) => (
            <li key={`${kind} ${where}`}>{t("secrets.found", { kind, where })}</li>
          ))}
        </ul>
        {!sample.cleared && <p>{t("secrets.detail")}</p>}
        {!sample.cleared && onClear && (
          <Button size="small" onClick={() => setConfirming(true)}>
            {t("secrets.clear")}
          </Button>
        )}
      </div>
      {onClear && (
        <ConfirmDialog
          open={confirming}
          onClose={() => setConfirming(false)}
          title={t("secrets.clear_title")}
          action={t("secrets.clear")}
          onConfirm={onClear}
        >
          {t("secrets.clear_detail")}
        </ConfirmDialog>
      )}
    </div>
  );
}
