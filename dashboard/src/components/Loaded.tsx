import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ErrorState } from "./ErrorState";
import { SkeletonRows } from "./Skeleton";

export interface LoadedProps<T> {
  query: UseQueryResult<T>;
  /** Placeholder while loading; default: some lines. */
  skeleton?: ReactNode;
  children: (data: T) => ReactNode;
}

/** Previously loaded data stays visible when a refetch fails, with the error above it. */
export function Loaded<T>({ query, skeleton = <SkeletonRows rows={4} />, children }: LoadedProps<T>) {
  const { data, error, isPending, refetch } = query;
  return (
    <>
      {error && <ErrorState problem={error} onRetry={() => void refetch()} compact={data !== undefined} />}
      {data !== undefined ? children(data) : isPending && skeleton}
    </>
  );
}
