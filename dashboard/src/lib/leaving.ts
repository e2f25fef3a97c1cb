/**
 * Work that must be sent before the tab changes its project or signs out, since later requests would use another
 * identity.
 */
const works = new Set<() => Promise<void>>();

export function beforeLeaving(work: () => Promise<void>): void {
  works.add(work);
}

export async function flushBeforeLeaving(): Promise<void> {
  await Promise.allSettled([...works].map((work) => work()));
}
