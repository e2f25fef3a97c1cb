import { Field, Input, Select, Textarea } from "../components/Field";
import { useLanguage, useT } from "../i18n/i18n";
import { choicesOf, kindOf, type Check } from "./checks";

/** The form field of a check, named after it. */
export function CheckField({ check, invalid }: { check: Check; invalid: boolean }) {
  const t = useT();
  const language = useLanguage();
  const error = t(kindOf(check) === "number" ? "submit.number_invalid" : "submit.object_invalid");
  return (
    <Field label={check.label[language]} hint={check.hint?.[language]} error={invalid && error}>
      <Control check={check} />
    </Field>
  );
}

function Control({ check }: { check: Check }) {
  const t = useT();
  const { name, schema } = check;
  switch (kindOf(check)) {
    case "choice":
      return (
        <Select name={name}>
          <option value="">{t("submit.check_any")}</option>
          {choicesOf(schema).map((choice) => (
            <option key={choice}>{choice}</option>
          ))}
        </Select>
      );
    case "switch":
      return (
        <Select name={name}>
          <option value="">{t("submit.check_any")}</option>
          <option value="on">{t("submit.check_on")}</option>
        </Select>
      );
    case "number":
      return <Input name={name} type="number" step={schema.type === "integer" ? 1 : "any"} />;
    case "lines":
      return <Textarea name={name} rows={3} />;
    case "text":
      return <Textarea name={name} rows={2} />;
    default:
      return <Textarea name={name} rows={4} className="mono" spellCheck={false} />;
  }
}
