import { useQuery } from "@tanstack/react-query";
import { TriangleAlert } from "lucide-react";
import { readyQuery } from "../api/queries";
import { useT } from "../i18n/i18n";
import "./States.css";

/** Names the unavailable components above every page. Pages continue with the data they have. */
export function DegradedBanner() {
  const t = useT();
  const { data } = useQuery(readyQuery());
  if (!data?.parts || data.status === "ok") return null;
  const away = Object.entries(data.parts).filter(([, part]) => part.state !== "ok");
  const parts = away.map(([name, part]) => (part.detail ? `${name} (${part.detail})` : name)).join(", ");
  const down = data.status === "unavailable";
  return (
    <div role="status" className={down ? "banner banner-bad" : "banner"}>
      <TriangleAlert aria-hidden />
      <span>{t(down ? "error.down" : "error.degraded", { parts })}</span>
    </div>
  );
}
