/** The part of the learning page that lists the adapters, as other pages lead to it. */
export const ADAPTERS = "adapters";
