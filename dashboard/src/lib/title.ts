/** The first non-empty line of a prompt, used as the title of a task. */
export function titleOf(prompt: string, most = 160): string {
  const line = prompt.split("\n", 50).find((one) => one.trim())?.trim() ?? "";
  return line.length > most ? `${line.slice(0, most - 1).trimEnd()}…` : line;
}
