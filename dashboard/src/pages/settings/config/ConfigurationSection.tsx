import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { ConfigOut, ValueOut } from "../../../api/types";
import { Badge } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { EmptyState } from "../../../components/EmptyState";
import { Checkbox, Field, Input } from "../../../components/Field";
import { Loaded } from "../../../components/Loaded";
import { Section } from "../../../components/Section";
import { useT } from "../../../i18n/i18n";
import { History } from "./History";
import { configQuery } from "./queries";
import { Replicas } from "./Replicas";
import { ValueDialog } from "./ValueDialog";
import { grouped, formatValue } from "./values";
import "./config.css";

export function ConfigurationSection() {
  return (
    <div className="sections">
      <Values />
      <Replicas />
      <History scope="system" />
      <History scope="project" />
    </div>
  );
}

function Values() {
  const t = useT();
  const query = useQuery(configQuery());
  const [search, setSearch] = useState("");
  const [own, setOwn] = useState(false);
  const [confirming, setConfirming] = useState<ValueOut | null>(null);
  return (
    <Section title={t("config.values")} detail={t("config.values_detail")}>
      <div className="config-filters">
        <Field label={t("config.search")}>
          <Input type="search" value={search} onChange={(event) => setSearch(event.target.value)} />
        </Field>
        <Checkbox label={t("config.only_set")} checked={own} onChange={(event) => setOwn(event.target.checked)} />
      </div>
      <Loaded query={query}>
        {(configuration) => (
          <>
            <Groups configuration={configuration} search={search} own={own} onChange={setConfirming} />
            {confirming && <ValueDialog value={confirming} configuration={configuration} onClose={() => setConfirming(null)} />}
          </>
        )}
      </Loaded>
    </Section>
  );
}

interface GroupsProps {
  configuration: ConfigOut;
  search: string;
  own: boolean;
  onChange: (value: ValueOut) => void;
}

function Groups({ configuration, search, own, onChange }: GroupsProps) {
  const t = useT();
  const values = configuration.values.filter(({ source }) => !own || source !== "default");
  const groups = grouped(values, search);
  if (groups.length === 0) return <EmptyState title={t("config.nothing_found")} />;
  return groups.map(([table, list]) => (
    <section key={table} className="config-table" aria-label={table || t("config.top")}>
      <h3>{table ? <code>{table}</code> : t("config.top")}</h3>
      <ul>
        {list.map((value) => (
          <Row key={value.key} value={value} onChange={() => onChange(value)} />
        ))}
      </ul>
    </section>
  ));
}

function Row({ value, onChange }: { value: ValueOut; onChange: () => void }) {
  const t = useT();
  const text = formatValue(value.value);
  return (
    <li className="config-row">
      <div className="config-key">
        <code>{value.key}</code>
        <span className="muted small">{value.description}</span>
      </div>
      <div className="config-value">
        {text ? <code title={text}>{text}</code> : <span className="muted">{t("config.none")}</span>}
        <span className="row">
          {value.source !== "default" && <Badge tone={value.source === "api" ? "info" : "neutral"}>{t(`config.source_${value.source}`)}</Badge>}
          {value.waiting && <Badge tone="warn">{t("config.waiting")}</Badge>}
        </span>
      </div>
      <div className="config-act">
        {value.may_change ? (
          <Button size="small" aria-label={t("config.change_key", { key: value.key })} onClick={onChange}>
            {t("config.change")}
          </Button>
        ) : (
          value.reach === "file" && <span className="muted small">{t("config.in_file")}</span>
        )}
      </div>
    </li>
  );
}
