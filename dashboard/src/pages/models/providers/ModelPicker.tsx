import { useMemo, useState, type FormEvent } from "react";
import type { TestOut, UpstreamOut } from "../../../api/types";
import { Badge } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { EmptyState } from "../../../components/EmptyState";
import { Field, Input } from "../../../components/Field";
import { Table, type Columns } from "../../../components/Table";
import { Num, Unknown } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { useT } from "../../../i18n/i18n";
import { chosen as choose, type ChosenModel } from "./drafts";

/** Models in one request. */
export const MOST_CHOSEN = 100;

export interface ModelPickerProps {
  /** Null for a server without a list: models are then entered by name. */
  listing: TestOut | null;
  chosen: readonly ChosenModel[];
  onChange: (chosen: ChosenModel[]) => void;
  /** Lists the server's models again, those that match. */
  onSearch: (search: string) => void;
  searching: boolean;
}

/** A server's models to choose from. The daemon sends the first thousand; the others are found by a search there. */
export function ModelPicker({ listing, chosen, onChange, onSearch, searching }: ModelPickerProps) {
  const t = useT();
  const [search, setSearch] = useState("");
  const [asked, setAsked] = useState("");
  const models = useMemo(() => {
    const part = search.trim().toLowerCase();
    return listing?.models.filter((model) => model.name.toLowerCase().includes(part)) ?? [];
  }, [listing, search]);
  // A search on the server made the listing smaller: another text needs another one.
  const incomplete = listing !== null && (listing.total > listing.models.length || asked !== "") && search.trim() !== asked;
  const names = useMemo(() => new Set(chosen.map((model) => model.upstream)), [chosen]);
  const full = chosen.length >= MOST_CHOSEN;

  function toggle(model: UpstreamOut) {
    if (names.has(model.name)) onChange(chosen.filter((one) => one.upstream !== model.name));
    else if (!full) onChange([...chosen, choose(model.name, model)]);
  }

  function searchServer(event: FormEvent) {
    event.preventDefault();
    if (!incomplete) return;
    setAsked(search.trim());
    onSearch(search.trim());
  }

  return (
    <div className="stack">
      {listing !== null && (
        <>
          <form role="search" className="row picker-search" onSubmit={searchServer}>
            <Input
              type="search"
              value={search}
              maxLength={200}
              aria-label={t("providers.search_models")}
              placeholder={t("providers.search_models")}
              onChange={(event) => setSearch(event.target.value)}
            />
            {incomplete && (
              <Button type="submit" busy={searching}>
                {t("providers.search_server")}
              </Button>
            )}
          </form>
          <p className="muted small" role="status">
            {listing.total > listing.models.length
              ? t("providers.shown_of", { shown: listing.models.length, count: listing.total })
              : t("providers.listed", { count: listing.total })}{" "}
            {t("providers.chosen_count", { count: chosen.length })}
            {full && ` ${t("providers.most_chosen", { count: MOST_CHOSEN })}`}
          </p>
          <ModelTable models={models} chosen={names} full={full} onToggle={toggle} />
        </>
      )}
      <ByName chosen={names} full={full} onAdd={(name) => onChange([...chosen, choose(name, null)])} />
    </div>
  );
}

interface ModelTableProps {
  models: UpstreamOut[];
  chosen: ReadonlySet<string>;
  full: boolean;
  onToggle: (model: UpstreamOut) => void;
}

function ModelTable({ models, chosen, full, onToggle }: ModelTableProps) {
  const t = useT();
  const formats = useFormats();
  const columns: Columns<UpstreamOut> = [
    {
      id: "chosen",
      header: () => <span className="visually-hidden">{t("providers.choose")}</span>,
      meta: { width: "38px" },
      cell: ({ row: { original: model } }) => (
        <input
          type="checkbox"
          className="picker-check"
          checked={chosen.has(model.name)}
          disabled={full && !chosen.has(model.name)}
          aria-label={t("providers.choose_model", { model: model.name })}
          onChange={() => onToggle(model)}
        />
      ),
    },
    {
      id: "name",
      header: t("models.model"),
      cell: ({ row: { original: model } }) => (
        <span className="picker-name" title={model.name}>
          {model.name} {model.added.length > 0 && <Badge title={model.added.join(", ")}>{t("providers.added")}</Badge>}
        </span>
      ),
    },
    {
      id: "context",
      header: t("models.context"),
      meta: { width: "92px", align: "end", wide: true },
      cell: ({ row }) => <Num value={row.original.context} />,
    },
    {
      id: "capabilities",
      header: t("providers.capabilities"),
      meta: { width: "130px", wide: true },
      cell: ({ row: { original: model } }) =>
        model.capabilities === null ? <Unknown /> : <span title={model.capabilities.join(", ")}>{model.capabilities.join(", ") || "–"}</span>,
    },
    {
      id: "price",
      header: t("providers.price"),
      meta: { width: "142px" },
      cell: ({ row: { original: model } }) => <Price model={model} formats={formats} />,
    },
  ];
  if (models.length === 0) return <EmptyState title={t("providers.no_match")}>{t("providers.no_match_detail")}</EmptyState>;
  return (
    <Table
      label={t("providers.models_of_server")}
      rows={models}
      columns={columns}
      rowId={(model) => model.name}
      onOpen={onToggle}
      rowHeight={46}
      height={models.length > 10 ? "480px" : undefined}
    />
  );
}

function Price({ model: { price, local }, formats }: { model: UpstreamOut; formats: ReturnType<typeof useFormats> }) {
  const t = useT();
  if (price === null) return <span className="muted">{t(local ? "providers.price_local" : "common.unknown")}</span>;
  // Noon, because a date alone is midnight in UTC, which is the day before in America.
  const at = price.at === null ? "" : formats.date(`${price.at}T12:00:00`);
  return (
    <div className="picker-price" title={[price.source, at].filter(Boolean).join(", ")}>
      <span>
        {formats.money(price.input)} / {formats.money(price.output)}
      </span>
      <span className="muted small">{at}</span>
    </div>
  );
}

/** For servers that do not list a model, such as a deployment of Azure. */
function ByName({ chosen, full, onAdd }: { chosen: ReadonlySet<string>; full: boolean; onAdd: (name: string) => void }) {
  const t = useT();
  const [name, setName] = useState("");
  function add(event: FormEvent) {
    event.preventDefault();
    if (!chosen.has(name.trim())) onAdd(name.trim());
    setName("");
  }
  return (
    <form className="by-name" onSubmit={add}>
      <Field label={t("providers.by_name")} hint={t("providers.by_name_hint")}>
        <Input value={name} maxLength={200} autoComplete="off" spellCheck={false} onChange={(event) => setName(event.target.value)} />
      </Field>
      <Button type="submit" disabled={full || !name.trim()}>
        {t("providers.by_name_add")}
      </Button>
    </form>
  );
}
