/** A link cannot carry the access token, so the file is fetched first and then handed to the browser. */
import { succeeded } from "./client";

/** Saves the file under the name that the daemon returns, or else `name`. Throws `Problem`. */
export async function download(answer: Promise<{ data?: Blob; error?: unknown; response: Response }>, name: string): Promise<void> {
  const { data, response } = await succeeded(answer);
  const named = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1];
  const address = URL.createObjectURL(data as Blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = named ?? name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
