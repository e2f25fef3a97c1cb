import { QueryClient } from "@tanstack/react-query";
import { Problem, UNREACHABLE } from "./problem";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // The live events keep what is shown up to date; asking again is for what they do not cover.
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
