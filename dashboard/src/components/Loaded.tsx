import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ErrorState } from "./ErrorState";
import { SkeletonRows } from "./Skeleton";

export interface LoadedProps<T> {
  query: UseQueryResult<T>;
  /** Holds the place; by default some lines. */
  skeleton?: ReactNode;
  children: (data: T) => ReactNode;
}

/** What was loaded before stays in sight when a later try fails, with the failure above it. */
export function Loaded<T>({ query, skeleton = <SkeletonRows rows={4} />, children }: LoadedProps<T>) {
  const { data, error, isPending, refetch } = query;
  return (
    <>
      {error && <ErrorState problem={error} onRetry={() => void refetch()} compact={data !== undefined} />}
      {data !== undefined ? children(data) : isPending && skeleton}
    </>
  );
}
