import type { Run } from "../../../api/learning";
import { Panel } from "../../../components/Panel";
import { Duration, Num } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";

type Try = Run["tries"][number];

/** The trainings of a run that ended: each with its recipe, its chosen candidate and its result. */
export function Tries({ tries }: { tries: readonly Try[] }) {
  const t = useT();
  if (tries.length === 0) return null;
  return (
    <Panel title={t("tries.title")}>
      <p className="muted small">{t("tries.detail")}</p>
      <div className="plain-box" tabIndex={0} role="region" aria-label={t("tries.title")}>
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">{t("tries.recipe")}</th>
              <th scope="col">{t("tries.candidate")}</th>
              <th scope="col" className="table-end">
                {t("tries.learned")}
              </th>
              <th scope="col" className="table-end">
                {t("tries.kept")}
              </th>
              <th scope="col" className="table-end">
                {t("tasks.duration")}
              </th>
              <th scope="col">{t("tries.result")}</th>
            </tr>
          </thead>
          <tbody>
            {tries.map((one) => (
              <Row key={one.number} one={one} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

function Row({ one }: { one: Try }) {
  const t = useT();
  const formats = useFormats();
  const { chosen, candidates, shortfall, ruling, reason } = one;
  const recipe = t("tries.recipe_of", {
    epochs: formats.number(one.epochs, 1),
    rate: formats.number(one.learning_rate, 5),
    rank: one.rank,
    replayed: formats.number(one.replay_share, 2),
  });
  const candidate = t("tries.candidate_of", { step: chosen.step, strength: formats.number(chosen.strength, 1), of: candidates.length });
  return (
    <tr>
      <th scope="row">{recipe}</th>
      <td>{candidate}</td>
      <td className="table-end">
        <Num value={chosen.learned} digits={2} />
      </td>
      <td className="table-end">
        <Num value={chosen.kept} digits={3} />
      </td>
      <td className="table-end">
        <Duration seconds={one.seconds} />
      </td>
      <td>{ruling ? `${t(`ruling.${ruling}`)}: ${reason}` : t(`tries.${shortfall ?? "enough"}`)}</td>
    </tr>
  );
}
