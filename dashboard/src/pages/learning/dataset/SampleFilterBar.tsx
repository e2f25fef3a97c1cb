import { Search } from "lucide-react";
import { useEffect, useState, type FormEvent } from "react";
import { Button } from "../../../components/Button";
import { Input } from "../../../components/Field";
import { Choice, Toggles } from "../../../components/Filters";
import { useT } from "../../../i18n/i18n";
import { SAMPLE_STATES, type SampleFilters } from "../filters";

export interface SampleFilterProps {
  filters: SampleFilters;
  types: readonly string[];
  onChange: (change: Partial<SampleFilters>) => void;
}

export function SampleFilterBar({ filters, types, onChange }: SampleFilterProps) {
  const t = useT();
  const active = Object.values(filters).some((value) => value !== undefined);
  return (
    <div className="filters" role="group" aria-label={t("tasks.filters")}>
      <Toggles
        label={t("sample.state")}
        options={SAMPLE_STATES}
        chosen={filters.state ?? []}
        name={(state) => t(`sample.${state}`)}
        onChange={(state) => onChange({ state })}
      />
      <div className="filter-line">
        <Choice
          label={t("tasks.any_type")}
          value={filters.task_type}
          options={types}
          onChange={(task_type) => onChange({ task_type })}
        />
        <TextFilter text={filters.q ?? ""} onSearch={(q) => onChange({ q: q || undefined })} />
        {active && (
          <Button kind="quiet" size="small" onClick={() => onChange({ state: undefined, task_type: undefined, q: undefined })}>
            {t("tasks.clear")}
          </Button>
        )}
      </div>
    </div>
  );
}

function TextFilter({ text, onSearch }: { text: string; onSearch: (text: string) => void }) {
  const t = useT();
  const [typed, setTyped] = useState(text);
  // The address can also change by Back, or when all filters are cleared.
  useEffect(() => setTyped(text), [text]);
  function search(event: FormEvent) {
    event.preventDefault();
    onSearch(typed.trim());
  }
  return (
    <form role="search" className="row text-filter" onSubmit={search}>
      <Input
        type="search"
        value={typed}
        maxLength={200}
        aria-label={t("dataset.search")}
        placeholder={t("dataset.search")}
        onChange={(event) => setTyped(event.target.value)}
      />
      <Button type="submit" icon={<Search aria-hidden />} aria-label={t("dataset.search_go")} />
    </form>
  );
}
