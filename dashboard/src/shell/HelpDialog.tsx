import { Fragment } from "react";
import { Dialog } from "../components/Dialog";
import { useT } from "../i18n/i18n";
import { NAV } from "./navigation";

export function HelpDialog({ onClose }: { onClose: () => void }) {
  const t = useT();
  const lines: [string[], string][] = [
    [["/"], t("help.search")],
    [["c"], t("help.submit")],
    ...NAV.map((entry): [string[], string] => [["g", entry.letter], t("help.go", { page: t(entry.name) })]),
    [["↑", "↓"], t("help.rows")],
    [["?"], t("help.help")],
    [["Esc"], t("help.escape")],
  ];
  return (
    <Dialog open onClose={onClose} title={t("help.title")}>
      <dl className="help">
        {lines.map(([keys, text]) => (
          <Fragment key={text}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </Fragment>
        ))}
      </dl>
    </Dialog>
  );
}
