/** Fragment of the adapter list on the learning page. */
export const ADAPTERS = "adapters";
