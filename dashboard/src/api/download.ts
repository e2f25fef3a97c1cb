/** A link cannot carry the access token, so the file is fetched first and then handed to the browser. */
import { raw, type CallOptions } from "./client";

/** Saves the file under the name that the daemon returns, or else `name`. Throws `Problem`. */
export async function download(path: string, name: string, options: CallOptions = {}): Promise<void> {
  const response = await raw("GET", path, options);
  const named = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1];
  const address = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = named ?? name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
