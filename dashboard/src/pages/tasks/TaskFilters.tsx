import { useQuery } from "@tanstack/react-query";
import { agentsQuery, modelsQuery, useCan, type TaskFilters } from "../../api/queries";
import { Button } from "../../components/Button";
import { Chip, Choice, Toggles } from "../../components/Filters";
import { useFormats } from "../../i18n/format";
import { useT } from "../../i18n/i18n";
import { TASK_STATES } from "../../lib/states";

export interface FilterProps {
  filters: TaskFilters;
  /** Task types seen so far; the API has no list of them. */
  types: readonly string[];
  onChange: (change: Partial<TaskFilters>) => void;
}

const NONE = {
  state: undefined,
  agent: undefined,
  model: undefined,
  task_type: undefined,
  q: undefined,
  ended_since: undefined,
  labelled: undefined,
} satisfies Partial<TaskFilters>;

export function TaskFilterBar({ filters, types, onChange }: FilterProps) {
  const t = useT();
  const formats = useFormats();
  const agents = useQuery({ ...agentsQuery(), enabled: useCan("agents:read") }).data?.items.map((agent) => agent.name) ?? [];
  const models = useQuery({ ...modelsQuery(), enabled: useCan("models:read") }).data?.map((model) => model.name) ?? [];
  const active = Object.values(filters).some((value) => value !== undefined);
  return (
    <div className="filters" role="group" aria-label={t("tasks.filters")}>
      <Toggles
        label={t("tasks.state")}
        options={TASK_STATES}
        chosen={filters.state ?? []}
        name={(state) => t(`state.${state}`)}
        onChange={(state) => onChange({ state })}
      />
      <div className="filter-line">
        <Choice label={t("tasks.any_agent")} value={filters.agent} options={agents} onChange={(agent) => onChange({ agent })} />
        <Choice label={t("tasks.any_model")} value={filters.model} options={models} onChange={(model) => onChange({ model })} />
        <Choice
          label={t("tasks.any_type")}
          value={filters.task_type}
          options={types}
          onChange={(task_type) => onChange({ task_type })}
        />
        {filters.q && <Chip onRemove={() => onChange({ q: undefined })}>{t("tasks.searched", { text: filters.q })}</Chip>}
        {filters.ended_since && (
          <Chip onRemove={() => onChange({ ended_since: undefined })}>
            {t("tasks.ended_since", { when: formats.dateTime(filters.ended_since) })}
          </Chip>
        )}
        {filters.labelled && (
          <Chip onRemove={() => onChange({ labelled: undefined })}>
            {t(filters.labelled === "true" ? "tasks.labelled" : "tasks.unlabelled")}
          </Chip>
        )}
        {active && (
          <Button kind="quiet" size="small" onClick={() => onChange(NONE)}>
            {t("tasks.clear")}
          </Button>
        )}
      </div>
    </div>
  );
}
