import { useState } from "react";
import { toProblem, type Problem } from "../../api/problem";

/** What every form here does: send once, show the refusal, let the person correct it. */
export function useSubmit(work: () => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  async function submit(event: { preventDefault(): void }) {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(toProblem(error));
    } finally {
      setBusy(false);
    }
  }
  return { busy, problem, submit };
}
