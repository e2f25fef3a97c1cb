import type { SampleOut } from "../../api/types";
import { titleOf } from "../../lib/title";

export interface ChatMessage {
  role: string;
  text: string;
}

/** The messages as texts. Content other than text is shown as JSON. */
export function messagesOf(prompt: SampleOut["prompt"]): ChatMessage[] {
  return prompt.map(({ role, content, ...rest }) => ({
    role: typeof role === "string" ? role : "",
    text: typeof content === "string" ? content : JSON.stringify(content ?? rest, null, 2),
  }));
}

/** A one-line title: the first user message, because later ones may contain the guardian's findings. */
export function titleOfSample({ prompt }: Pick<SampleOut, "prompt">): string {
  const messages = messagesOf(prompt);
  return titleOf((messages.find(({ role }) => role === "user") ?? messages.at(-1))?.text ?? "");
}

/** The initial text of a correction. */
export function textOf({ corrected_output, faulty_output }: Pick<SampleOut, "corrected_output" | "faulty_output">): string {
  return corrected_output ?? faulty_output ?? "";
}
