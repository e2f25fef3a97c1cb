import { useQueryClient } from "@tanstack/react-query";
import { Cloud, MemoryStick, Plus, Trash2 } from "lucide-react";
import { useState, type ReactNode } from "react";
import { toProblem } from "../../../api/problem";
import { projectKey } from "../../../api/queries";
import { Badge } from "../../../components/Badge";
import { Button } from "../../../components/Button";
import { ConfirmDialog } from "../../../components/ConfirmDialog";
import { EmptyState } from "../../../components/EmptyState";
import { showToast } from "../../../components/Toast";
import { Num, RelativeTime, Unknown } from "../../../components/Values";
import { useFormats } from "../../../i18n/format";
import { translate, useT } from "../../../i18n/i18n";
import { addToCatalogue, deleteModel, type InstalledOut, type LoadedOut, type OllamaOut, type Which } from "./queries";

export function Installed({ which, models }: { which: Which; models: OllamaOut }) {
  const t = useT();
  const client = useQueryClient();
  const [deleting, setDeleting] = useState<InstalledOut | null>(null);
  const loaded = new Map(models.loaded.map((model) => [model.name, model]));
  if (models.installed.length === 0) return <EmptyState title={t("ollama.none")}>{t("ollama.none_detail")}</EmptyState>;
  return (
    <>
      <ul className="ollama-cards">
        {models.installed.map((model) => (
          <li key={model.name}>
            <Card which={which} model={model} loaded={loaded.get(model.name)} onDelete={() => setDeleting(model)} />
          </li>
        ))}
      </ul>
      <ConfirmDialog
        open={deleting !== null}
        onClose={() => setDeleting(null)}
        title={t("ollama.delete_title", { name: deleting?.name ?? "" })}
        action={t("ollama.delete")}
        onConfirm={async () => {
          if (!deleting) return;
          await deleteModel(which, deleting.name);
          showToast(translate("ollama.deleted", { name: deleting.name }));
          await client.invalidateQueries({ queryKey: projectKey("ollama", which.providerId) });
        }}
      >
        <p>{t("ollama.delete_detail")}</p>
      </ConfirmDialog>
    </>
  );
}

interface CardProps {
  which: Which;
  model: InstalledOut;
  loaded: LoadedOut | undefined;
  onDelete: () => void;
}

function Card({ which, model, loaded, onDelete }: CardProps) {
  const t = useT();
  const formats = useFormats();
  return (
    <article className="ollama-card" aria-label={model.name}>
      <div className="spread ollama-head">
        <h3>{model.name}</h3>
        {model.cloud && <Badge icon={<Cloud aria-hidden />}>{t("ollama.cloud")}</Badge>}
        {loaded && (
          <Badge tone="good" icon={<MemoryStick aria-hidden />}>
            {t("ollama.loaded")}
          </Badge>
        )}
      </div>
      <dl className="ollama-facts">
        <Fact name={t("ollama.size")}>{model.size === null ? <Unknown /> : formats.bytes(model.size)}</Fact>
        <Fact name={t("ollama.parameters")}>{model.parameters ?? <Unknown />}</Fact>
        <Fact name={t("ollama.quantization")}>{model.quantization ?? <Unknown />}</Fact>
        <Fact name={t("ollama.context")}>
          <Num value={model.context} />
        </Fact>
        <Fact name={t("ollama.capabilities")}>{model.capabilities === null ? <Unknown /> : model.capabilities.join(", ") || "–"}</Fact>
        <Fact name={t("ollama.changed")}>
          <RelativeTime at={model.modified_at} />
        </Fact>
        {loaded && <InMemory loaded={loaded} />}
      </dl>
      {model.added.length > 0 && <p className="small muted ollama-added">{t("ollama.added_as", { names: model.added.join(", ") })}</p>}
      <div className="row ollama-actions">
        {model.added.length === 0 && <AddButton which={which} model={model} />}
        <Button
          size="small"
          icon={<Trash2 aria-hidden />}
          aria-label={`${t("ollama.delete")}: ${model.name}`}
          onClick={onDelete}
        >
          {t("ollama.delete")}
        </Button>
      </div>
    </article>
  );
}

function InMemory({ loaded }: { loaded: LoadedOut }) {
  const t = useT();
  const formats = useFormats();
  return (
    <>
      <Fact name={t("ollama.memory")}>
        {loaded.memory === null ? <Unknown /> : formats.bytes(loaded.memory)}
        {loaded.vram !== null && loaded.vram > 0 && (
          <span className="muted"> {t("ollama.on_gpu", { size: formats.bytes(loaded.vram) })}</span>
        )}
      </Fact>
      <Fact name={t("ollama.served_context")}>
        <Num value={loaded.context} />
      </Fact>
      <Fact name={t("ollama.until")}>{loaded.until === null ? t("ollama.stays") : <RelativeTime at={loaded.until} />}</Fact>
    </>
  );
}

function AddButton({ which, model }: { which: Which; model: InstalledOut }) {
  const t = useT();
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  async function add() {
    setBusy(true);
    try {
      await addToCatalogue(which, model);
      showToast(translate("ollama.added", { name: model.name }));
      await client.invalidateQueries({ queryKey: projectKey() }); // every list of models
    } catch (error) {
      showToast(toProblem(error).detail || translate("error.unreachable"), { tone: "bad" });
    } finally {
      setBusy(false);
    }
  }
  return (
    <Button
      size="small"
      icon={<Plus aria-hidden />}
      busy={busy}
      aria-label={`${t("ollama.add")}: ${model.name}`}
      onClick={() => void add()}
    >
      {t("ollama.add")}
    </Button>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
