import { Store } from "../lib/store";

/** The dialogs that any page can open: `openDialog.set("submit")`. */
export const openDialog = new Store<"submit" | "project" | "help" | null>(null);
