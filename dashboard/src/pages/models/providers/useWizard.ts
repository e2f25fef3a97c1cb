import { useRef, useState } from "react";
import type { KindOut, LocalServerOut, ProviderOut, ServerProblemOut, TestOut } from "../../../api/types";
import { toProblem, type Problem } from "../../../api/problem";
import { translate } from "../../../i18n/i18n";
import { EMPTY, modelBody, providerBody, serverOf, type ChosenModel, type ServerDraft } from "./drafts";
import { addModels, createProvider, listUpstream, testServer, type ProviderScope } from "./providerApi";

export type StepName = "kind" | "server" | "models" | "added";

export interface WizardState {
  scope: ProviderScope;
  step: StepName;
  kind: KindOut | null;
  draft: ServerDraft;
  /** The last list of the server; null for one without a list. */
  listing: TestOut | null;
  serverProblem: ServerProblemOut | null;
  chosen: ChosenModel[];
  /** The stored provider; null before it is created. */
  provider: ProviderOut | null;
  /** The catalogue's names of the models that were added. */
  names: string[];
  busy: boolean;
  problem: Problem | null;
}

const START = {
  step: "kind",
  kind: null,
  draft: { kind: "openai", ...EMPTY },
  listing: null,
  serverProblem: null,
  chosen: [],
  provider: null,
  names: [],
  busy: false,
  problem: null,
} satisfies Omit<WizardState, "scope">;

/** Everything entered is held in this state only; the key until it is stored. */
export function useWizard(first: ProviderScope) {
  const [state, setState] = useState<WizardState>({ ...START, scope: first });
  const runs = useRef(0);
  const set = (part: Partial<WizardState>) => setState((old) => ({ ...old, ...part }));

  /** Whoever went back before the end of a call does not see its result. */
  async function work(action: () => Promise<Partial<WizardState>>) {
    const run = (runs.current += 1);
    set({ busy: true, problem: null, serverProblem: null });
    const result = await action().catch((error: unknown) => ({ problem: toProblem(error) }));
    if (run === runs.current) set({ ...result, busy: false });
  }

  function back(step: "kind" | "server") {
    runs.current += 1;
    set({ step, busy: false, problem: null, serverProblem: null });
  }

  /** Opens the second step. What was entered for the same kind stays; a key is not kept for another kind. */
  function choose(kind: KindOut, server?: LocalServerOut) {
    const usual = state.scope === "shared" || !kind.local ? (kind.address ?? "") : "";
    const same = state.kind?.kind === kind.kind && !server;
    const draft = same ? state.draft : { ...EMPTY, kind: kind.kind, name: translate(`providers.kind_${kind.kind}`), address: server?.address ?? usual };
    set({ step: "server", kind, draft, problem: null, serverProblem: null, ...(!same && { listing: null, chosen: [] }) });
    if (server && !server.needs_key) void test(draft);
  }

  function test(draft: ServerDraft, search = "") {
    return work(async () => {
      const { scope, provider } = state;
      const found = provider
        ? await listUpstream(scope, provider.id, search)
        : await testServer(scope, { kind: draft.kind, ...serverOf(draft), ...(search && { search }) });
      return found.ok ? { listing: found, step: "models" } : { serverProblem: found.problem };
    });
  }

  function save() {
    return work(async () => {
      // If adding the models failed before, the provider exists already.
      const saved = state.provider ?? (await createProvider(state.scope, providerBody(state.draft)));
      set({ provider: saved, draft: { ...state.draft, key: "", headers: "" } });
      const had = new Set(saved.models.map((model) => model.id));
      const provider = await addModels(state.scope, saved.id, state.chosen.map(modelBody));
      const names = provider.models.filter((model) => !had.has(model.id)).map((model) => model.name);
      return { provider, names, step: "added" };
    });
  }

  return { state, set, back, choose, test, save };
}

export type Wizard = ReturnType<typeof useWizard>;
