/** One-time tokens stand after the #, which browsers send to nobody. */
export function fragment(): string {
  return decodeURIComponent(location.hash.slice(1));
}
