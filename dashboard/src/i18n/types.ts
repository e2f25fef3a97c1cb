/** A message is a text with `{places}`, or one text per plural form, chosen by `count`. */
export interface Plural {
  one: string;
  other: string;
}

export type Message = string | Plural;

/** What a translation of `T` must hold: the same keys, each of the same kind. A missing one is a type error. */
export type Translation<T> = { readonly [K in keyof T]: T[K] extends string ? string : Plural };
