import { CircleAlert, Info, TriangleAlert } from "lucide-react";
import type { FindingOut } from "../../../api/types";
import { useT } from "../../../i18n/i18n";

const KINDS = {
  error: { icon: CircleAlert, label: "verdict.error" },
  warning: { icon: TriangleAlert, label: "verdict.warning" },
  info: { icon: Info, label: "verdict.info" },
} as const;

export function Findings({ findings, lines = true }: { findings: readonly FindingOut[]; lines?: boolean }) {
  const t = useT();
  return (
    <ul className="findings">
      {findings.map((finding, index) => {
        const kind = finding.severity in KINDS ? (finding.severity as keyof typeof KINDS) : "info";
        const { icon: Icon, label } = KINDS[kind];
        return (
          <li key={index} className={`finding finding-${kind}`}>
            <Icon aria-hidden />
            <span>
              <span className="visually-hidden">{t(label)}: </span>
              {lines && finding.line != null && <>{t("verdict.line", { line: finding.line })}: </>}
              {finding.message} <code className="muted">{finding.check}</code>
            </span>
          </li>
        );
      })}
    </ul>
  );
}
