/** One-time tokens follow the #, which browsers do not send to servers. */
export function fragment(): string {
  return decodeURIComponent(location.hash.slice(1));
}
