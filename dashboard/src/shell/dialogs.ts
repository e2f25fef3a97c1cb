import { Store } from "../lib/store";

/** The dialogs that can be opened from anywhere: `openDialog.set("submit")`. */
export const openDialog = new Store<"submit" | "project" | "help" | null>(null);
