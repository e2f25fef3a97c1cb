import { infiniteQueryOptions, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { api, ok } from "../../api/client";
import { projectKey, useCan, useMe } from "../../api/queries";
import { Button } from "../../components/Button";
import { EmptyState } from "../../components/EmptyState";
import { ErrorState } from "../../components/ErrorState";
import { PageHeader } from "../../components/PageHeader";
import { SkeletonRows } from "../../components/Skeleton";
import { Switch } from "../../components/Switch";
import { useT } from "../../i18n/i18n";
import { membersQuery } from "../settings/queries";
import { AuditFilters } from "./AuditFilters";
import { AuditRows } from "./AuditRows";
import { queryOf, type AuditSearch } from "./search";
import "./audit.css";

const route = getRouteApi("/app/audit");

const auditQuery = (search: AuditSearch) =>
  infiniteQueryOptions({
    queryKey: projectKey("audit", search),
    queryFn: ({ pageParam, signal }) =>
      ok(api.GET("/api/audit", { params: { query: { ...queryOf(search), cursor: pageParam, limit: 50 } }, signal })),
    initialPageParam: null as number | null,
    getNextPageParam: (page) => (page.next === null ? null : Number(page.next)),
  });

export function AuditPage() {
  const t = useT();
  const operator = useMe()?.operator ?? false;
  const search = route.useSearch();
  const navigate = route.useNavigate();
  // Typing replaces the history entry, so that Back leaves the page.
  const set = (part: Partial<AuditSearch>) => void navigate({ search: { ...search, ...part }, replace: true });
  const members = useQuery({ ...membersQuery(), enabled: useCan("members:read") }).data ?? [];
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } = useInfiniteQuery(auditQuery(search));
  const entries = data?.pages.flatMap((page) => page.items) ?? [];
  const filtered = Object.entries(search).some(([name, value]) => name !== "system" && value);
  return (
    <>
      <PageHeader title={t("audit.title")} detail={t(search.system ? "audit.system_detail" : "audit.detail")}>
        {operator && (
          <span className="row">
            <span aria-hidden>{t("audit.system")}</span>
            <Switch
              label={t("audit.system")}
              checked={search.system === "true"}
              onChange={(on) => set({ system: on ? "true" : undefined, user: undefined, action: undefined })}
            />
          </span>
        )}
      </PageHeader>
      <div className="stack">
        <AuditFilters search={search} members={members} onChange={set} />
        {error && <ErrorState problem={error} onRetry={() => void refetch()} compact={entries.length > 0} />}
        {isPending && <SkeletonRows />}
        {data && entries.length === 0 && (
          <EmptyState
            title={t(filtered ? "audit.nothing_found" : "audit.empty")}
            action={
              filtered && (
                <Button onClick={() => void navigate({ search: search.system ? { system: "true" } : {}, replace: true })}>
                  {t("audit.clear")}
                </Button>
              )
            }
          >
            {!filtered && t("audit.empty_detail")}
          </EmptyState>
        )}
        {entries.length > 0 && <AuditRows entries={entries} members={members} onFilter={set} />}
        {hasNextPage && (
          <div>
            <Button busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>
              {t("common.more")}
            </Button>
          </div>
        )}
      </div>
    </>
  );
}
