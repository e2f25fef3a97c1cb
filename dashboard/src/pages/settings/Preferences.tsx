import { Field, Select } from "../../components/Field";
import { Section } from "../../components/Section";
import { LANGUAGES, setLanguage, useLanguage, useT, type Language } from "../../i18n/i18n";
import { useStore } from "../../lib/store";
import { setTheme, themeStore, type Theme } from "../../shell/theme";

export function Preferences() {
  const t = useT();
  const theme = useStore(themeStore);
  const language = useLanguage();
  return (
    <Section title={t("settings.browser")} detail={t("settings.browser_detail")}>
      <div className="form-grid settings-form">
        <Field label={t("shell.language")}>
          <Select value={language} onChange={(event) => void setLanguage(event.target.value as Language, true)}>
            {LANGUAGES.map(({ code, name }) => (
              <option key={code} value={code} lang={code}>
                {name}
              </option>
            ))}
          </Select>
        </Field>
        <Field label={t("shell.theme")}>
          <Select value={theme} onChange={(event) => setTheme(event.target.value as Theme)}>
            <option value="system">{t("shell.theme_system")}</option>
            <option value="light">{t("shell.theme_light")}</option>
            <option value="dark">{t("shell.theme_dark")}</option>
          </Select>
        </Field>
      </div>
    </Section>
  );
}
