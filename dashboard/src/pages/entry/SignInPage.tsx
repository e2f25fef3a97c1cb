import { getRouteApi, useRouter } from "@tanstack/react-router";
import { useT } from "../../i18n/i18n";
import { EntryFrame } from "./EntryFrame";
import { SignInForm } from "./SignInForm";

const route = getRouteApi("/sign-in");

export function SignInPage() {
  const t = useT();
  const router = useRouter();
  const { next } = route.useSearch();
  return (
    <EntryFrame title={t("entry.sign_in")}>
      <SignInForm onDone={() => router.history.push(next ?? "/")} />
    </EntryFrame>
  );
}
