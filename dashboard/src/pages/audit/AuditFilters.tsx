import { useEffect, useState } from "react";
import type { MemberOut } from "../../api/types";
import { Field, Input, Select } from "../../components/Field";
import { useT } from "../../i18n/i18n";
import { ACTIONS, messageOf } from "./actions";
import type { AuditSearch } from "./search";

export interface AuditFiltersProps {
  search: AuditSearch;
  members: MemberOut[];
  onChange: (part: Partial<AuditSearch>) => void;
}

export function AuditFilters({ search, members, onChange }: AuditFiltersProps) {
  const t = useT();
  const text = (event: { target: { value: string } }) => event.target.value || undefined;
  const labelOf = (action: string) => {
    const message = messageOf(action);
    return message ? t(message) : action;
  };
  const stranger = search.user && !members.some((member) => member.user_id === search.user);
  return (
    <div role="search" aria-label={t("audit.filters")} className="audit-filters">
      <Field label={t("audit.search")}>
        <SearchField value={search.q ?? ""} onChange={(q) => onChange({ q: q || undefined })} />
      </Field>
      <Field label={t("audit.action")}>
        <Select value={search.action ?? ""} onChange={(event) => onChange({ action: text(event) })}>
          <option value="">{t("audit.any")}</option>
          {[...new Set([...Object.keys(ACTIONS), ...(search.action ? [search.action] : [])])].map((action) => (
            <option key={action} value={action}>
              {labelOf(action)}
            </option>
          ))}
        </Select>
      </Field>
      {!search.system && (
        <Field label={t("audit.who")}>
          <Select value={search.user ?? ""} onChange={(event) => onChange({ user: text(event) })}>
            <option value="">{t("audit.anybody")}</option>
            {members.map((member) => (
              <option key={member.user_id} value={member.user_id}>
                {member.email}
              </option>
            ))}
            {stranger && <option value={search.user}>{t("audit.no_member")}</option>}
          </Select>
        </Field>
      )}
      <Field label={t("audit.since")}>
        <Input type="date" value={search.since ?? ""} onChange={(event) => onChange({ since: text(event) })} />
      </Field>
      <Field label={t("audit.until")}>
        <Input type="date" value={search.until ?? ""} onChange={(event) => onChange({ until: text(event) })} />
      </Field>
    </div>
  );
}

/** Searches when typing pauses, not at every keystroke. */
function SearchField({ value, onChange }: { value: string; onChange: (value: string) => void }) {
  const t = useT();
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text.trim() === value) return;
    const timer = setTimeout(() => onChange(text.trim()), 300);
    return () => clearTimeout(timer);
    // `onChange` is new at every render and must not restart the timer.
  }, [text]);
  return <Input type="search" maxLength={200} value={text} placeholder={t("audit.search_hint")} onChange={(event) => setText(event.target.value)} />;
}
