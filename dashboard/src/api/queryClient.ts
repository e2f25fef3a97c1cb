import { QueryClient } from "@tanstack/react-query";
import { Problem, UNREACHABLE } from "./problem";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // Live events keep the data current; refetching covers everything else.
      staleTime: 30_000,
      retry: (failures, error) => failures < 2 && mayPass(error),
      refetchOnWindowFocus: true,
    },
    mutations: { retry: false },
  },
});

function mayPass(error: unknown): boolean {
  return error instanceof Problem && (error.code === UNREACHABLE || error.status === 502 || error.status === 504);
}
