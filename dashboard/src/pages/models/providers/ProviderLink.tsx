import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { ProviderScope } from "./providerApi";

/** A link to a provider's page. A project's own provider is marked in the address. */
export function ProviderLink({ scope, id, className, children }: { scope: ProviderScope; id: string; className?: string; children: ReactNode }) {
  return (
    <Link
      to="/models/providers/$providerId"
      params={{ providerId: id }}
      search={scope === "project" ? { own: "true" } : {}}
      className={className}
    >
      {children}
    </Link>
  );
}
