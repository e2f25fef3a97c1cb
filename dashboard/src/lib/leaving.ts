/**
 * Work that must be sent before the tab changes its project or signs out, since later requests would use another
 * identity.
 */
const callbacks = new Set<() => Promise<void>>();

export function beforeLeaving(callback: () => Promise<void>): void {
  callbacks.add(callback);
}

export async function flushBeforeLeaving(): Promise<void> {
  await Promise.allSettled([...callbacks].map((callback) => callback()));
}
