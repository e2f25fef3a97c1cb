import { useState } from "react";
import { toProblem, type Problem } from "../../api/problem";

/** Submits a form once at a time and shows the problem, so that the user can correct the input. */
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
