/**
 * A model's name as parameters of `/models/$name/$`. Names may contain slashes. `/models/$` would not do: it also
 * matches `/models`, the list.
 */
export function modelParams(model: string): { name: string; _splat: string } {
  const [name = "", ...rest] = model.split("/");
  return { name, _splat: rest.join("/") };
}

export function modelOf({ name, _splat: rest }: { name: string; _splat?: string }): string {
  return rest ? `${name}/${rest}` : name;
}
