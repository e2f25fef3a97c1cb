/** Values as text: times, ids, sums. An unknown value is a labelled dash, never a zero. */
import { Check, Copy } from "lucide-react";
import { useState } from "react";
import { useFormats } from "../i18n/format";
import { useT } from "../i18n/i18n";
import { Store, useStore } from "../lib/store";
import { Button } from "./Button";
import "./Values.css";

const tick = new Store(0);
setInterval(() => tick.set(tick.state + 1), 15_000);

export function Unknown() {
  const t = useT();
  return (
    <span className="muted" title={t("common.unknown")}>
      <span aria-hidden>–</span>
      <span className="visually-hidden">{t("common.unknown")}</span>
    </span>
  );
}

export function RelativeTime({ at }: { at: string | null | undefined }) {
  const formats = useFormats();
  useStore(tick);
  if (!at) return <Unknown />;
  return (
    <time dateTime={at} title={formats.dateTime(at)} className="value">
      {formats.relative(at)}
    </time>
  );
}

/** Counts up while `end` is null and `start` is set. */
export function Elapsed({ start, end }: { start: string | null | undefined; end: string | null | undefined }) {
  useStore(tick);
  if (!start) return <Unknown />;
  return <Duration seconds={Math.max(0, ((end ? Date.parse(end) : Date.now()) - Date.parse(start)) / 1000)} />;
}

export function Duration({ seconds }: { seconds: number | null | undefined }) {
  const formats = useFormats();
  if (seconds == null) return <Unknown />;
  return <span className="value">{formats.duration(seconds)}</span>;
}

export function Money({ usd }: { usd: number | null | undefined }) {
  const formats = useFormats();
  if (usd == null) return <Unknown />;
  return <span className="value">{formats.money(usd)}</span>;
}

export function Num({ value, digits = 0 }: { value: number | null | undefined; digits?: number }) {
  const formats = useFormats();
  if (value == null) return <Unknown />;
  return <span className="value">{formats.number(value, digits)}</span>;
}

export function Percent({ share, digits = 0 }: { share: number | null | undefined; digits?: number }) {
  const formats = useFormats();
  if (share == null) return <Unknown />;
  return <span className="value">{formats.percent(share, digits)}</span>;
}

/** Shows the end of a UUIDv7, which distinguishes rows; the beginning is a timestamp. */
export function Id({ id }: { id: string }) {
  return (
    <span className="id" title={id}>
      <code>{id.length > 12 ? `…${id.slice(-8)}` : id}</code>
      <CopyButton text={id} />
    </span>
  );
}

export function CopyButton({ text, label }: { text: string; label?: string }) {
  const t = useT();
  const [copied, setCopied] = useState(false);
  async function copy() {
    if (!(await copyText(text))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  }
  const Icon = copied ? Check : Copy;
  return (
    <Button
      kind="quiet"
      size="small"
      icon={<Icon aria-hidden />}
      aria-label={copied ? t("common.copied") : (label ?? t("common.copy"))}
      onClick={(event) => {
        event.stopPropagation();
        void copy();
      }}
    />
  );
}

/** The clipboard API is available over HTTPS and on localhost only. */
async function copyText(text: string): Promise<boolean> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
