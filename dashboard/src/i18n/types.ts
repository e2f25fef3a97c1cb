/** A message is a text with `{placeholders}`, or one text per plural form, chosen by `count`. */
export interface Plural {
  one: string;
  other: string;
}

export type Message = string | Plural;

/** The type of a translation of `T`: the same keys, each of the same kind. A missing key is a type error. */
export type Translation<T> = { readonly [K in keyof T]: T[K] extends string ? string : Plural };
