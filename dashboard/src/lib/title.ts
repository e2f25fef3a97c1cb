/** The first line of a prompt that says something: what a task is called where there is one line for it. */
export function titleOf(prompt: string, most = 160): string {
  const line = prompt.split("\n", 50).find((one) => one.trim())?.trim() ?? "";
  return line.length > most ? `${line.slice(0, most - 1).trimEnd()}…` : line;
}
