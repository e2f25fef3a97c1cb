import "./styles/tokens.css";
import "./styles/base.css";
import { CSPProvider } from "@base-ui/react/csp-provider";
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { queryClient } from "./api/queryClient";
import { session } from "./auth/session";
import { preferred, setLanguage } from "./i18n/i18n";
import { runLive } from "./live/live";
import { router } from "./routes";

const OPEN_PAGES = ["/sign-in", "/setup", "/reset", "/join"];

async function start(): Promise<void> {
  await setLanguage(preferred());
  session.subscribe(() => {
    const { pathname, href } = router.state.location;
    if (session.state.status !== "out" || OPEN_PAGES.includes(pathname)) return;
    queryClient.clear();
    void router.navigate({ to: "/sign-in", search: { next: href }, replace: true });
  });
  runLive();
  const place = document.getElementById("root");
  if (!place) throw new Error("index.html has no #root");
  createRoot(place).render(
    <StrictMode>
      <CSPProvider disableStyleElements>
        <QueryClientProvider client={queryClient}>
          <RouterProvider router={router} />
        </QueryClientProvider>
      </CSPProvider>
    </StrictMode>,
  );
}

void start();
