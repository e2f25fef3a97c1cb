import type { SampleOut } from "../../api/contract";
import { titleOf } from "../../lib/title";

export interface Said {
  role: string;
  text: string;
}

/** The messages as texts. What a model was given besides text is shown as the JSON that it was. */
export function messagesOf(prompt: SampleOut["prompt"]): Said[] {
  return prompt.map(({ role, content, ...rest }) => ({
    role: typeof role === "string" ? role : "",
    text: typeof content === "string" ? content : JSON.stringify(content ?? rest, null, 2),
  }));
}

/** What the row is called in one line: what its person asked first; later messages may be the guardian's findings. */
export function titleOfSample({ prompt }: Pick<SampleOut, "prompt">): string {
  const said = messagesOf(prompt);
  return titleOf((said.find(({ role }) => role === "user") ?? said.at(-1))?.text ?? "");
}

/** What a correction begins with. */
export function textOf({ corrected_output, faulty_output }: Pick<SampleOut, "corrected_output" | "faulty_output">): string {
  return corrected_output ?? faulty_output ?? "";
}
