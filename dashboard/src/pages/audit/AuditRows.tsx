import type { EntryOut, MemberOut } from "../../api/types";
import { Id, RelativeTime } from "../../components/Values";
import "../../components/Table.css";
import { useT } from "../../i18n/i18n";
import { isId } from "../../lib/ids";
import { messageOf } from "./actions";
import type { AuditSearch } from "./search";

export interface AuditRowsProps {
  entries: EntryOut[];
  members: MemberOut[];
  onFilter: (part: Partial<AuditSearch>) => void;
}

/** A plain table, because rows differ in height and pages have fifty rows. */
export function AuditRows({ entries, members, onFilter }: AuditRowsProps) {
  const t = useT();
  return (
    <div className="audit-box">
      <table className="table audit-table" aria-label={t("audit.title")}>
        <thead>
          <tr>
            <th scope="col" className="audit-when">{t("audit.when")}</th>
            <th scope="col" className="audit-action">{t("audit.action")}</th>
            <th scope="col" className="audit-who">{t("audit.who")}</th>
            <th scope="col" className="audit-target">{t("audit.target")}</th>
            <th scope="col">{t("audit.data")}</th>
          </tr>
        </thead>
        <tbody>
          {entries.map((entry) => (
            <tr key={entry.id} className="table-row">
              <td className="muted">
                <RelativeTime at={entry.at} />
              </td>
              <td>
                <button type="button" className="audit-pick" title={entry.action} onClick={() => onFilter({ action: entry.action })}>
                  <ActionName action={entry.action} />
                </button>
              </td>
              <td>
                <UserCell entry={entry} onFilter={onFilter} />
              </td>
              <td>{entry.target !== null && <Target text={entry.target} members={members} />}</td>
              <td>
                <Data data={entry.data} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ActionName({ action }: { action: string }) {
  const t = useT();
  const message = messageOf(action);
  return <>{message ? t(message) : action}</>;
}

function UserCell({ entry, onFilter }: { entry: EntryOut; onFilter: AuditRowsProps["onFilter"] }) {
  const t = useT();
  const { user_id: user, who } = entry;
  if (user === null) return <span className="muted">{t("audit.nobody")}</span>;
  return (
    <button type="button" className="audit-pick" onClick={() => onFilter({ user })}>
      {who ?? t("audit.no_member")}
    </button>
  );
}

function Target({ text, members }: { text: string; members: MemberOut[] }) {
  const member = members.find((one) => one.user_id === text);
  if (member) return <span title={text}>{member.email}</span>;
  return isId(text) ? <Id id={text} /> : <>{text}</>;
}

function Data({ data }: { data: Record<string, unknown> }) {
  const pairs = Object.entries(data);
  if (pairs.length === 0) return null;
  return (
    <dl className="audit-data">
      {pairs.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <Value value={value} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** Shows null as a value: it was set, for example by removing a limit. */
function Value({ value }: { value: unknown }) {
  if (typeof value === "string") return isId(value) ? <Id id={value} /> : <>{value}</>;
  if (Array.isArray(value) && value.every((one) => typeof one === "string")) return <>{value.join(", ")}</>;
  return <code>{JSON.stringify(value)}</code>;
}
