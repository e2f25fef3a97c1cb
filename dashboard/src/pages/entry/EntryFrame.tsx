import { useEffect, type ReactNode } from "react";
import { LANGUAGES, setLanguage, useLanguage, useT, type Language } from "../../i18n/i18n";
import { Select } from "../../components/Field";
import "./entry.css";

/** The frame of the pages outside a project. */
export function EntryFrame({ title, children }: { title: string; children: ReactNode }) {
  const t = useT();
  const language = useLanguage();
  useEffect(() => {
    document.title = `${title} · Kairos`;
  }, [title]);
  return (
    <main className="entry">
      <div className="entry-box stack">
        <div className="row entry-brand">
          <img src="/icon.svg" alt="" width="24" height="24" />
          Kairos
        </div>
        <h1>{title}</h1>
        {children}
        <Select aria-label={t("shell.language")} value={language} onChange={(event) => void setLanguage(event.target.value as Language, true)}>
          {LANGUAGES.map(({ code, name }) => (
            <option key={code} value={code} lang={code}>
              {name}
            </option>
          ))}
        </Select>
      </div>
    </main>
  );
}
