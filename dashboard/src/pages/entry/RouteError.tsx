import { useRouter, type ErrorComponentProps } from "@tanstack/react-router";
import { Problem } from "../../api/problem";
import { ErrorState } from "../../components/ErrorState";
import { translate } from "../../i18n/i18n";

export function RouteError({ error, reset }: ErrorComponentProps) {
  const router = useRouter();
  const shown =
    error instanceof Problem
      ? error
      : new Problem({ title: translate("error.page"), status: 0, code: "client_error", detail: error instanceof Error ? error.message : String(error) });
  return (
    <ErrorState
      problem={shown}
      onRetry={() => {
        reset();
        void router.invalidate();
      }}
    />
  );
}
