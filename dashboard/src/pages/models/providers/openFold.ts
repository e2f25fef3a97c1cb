import type { FormEvent } from "react";

/** For `onInvalidCapture`: the browser cannot show what is wrong with an input in a closed fold, so it is opened. */
export function openFold(event: FormEvent): void {
  (event.target as Element).closest("details")?.setAttribute("open", "");
}
