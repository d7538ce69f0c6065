import { type Item, TtlvError, type ValueOf } from "./ttlv.js";

/** Building of items, and taking them apart again: what is absent or of another type than the specification's throws. */

type Field<Type extends Item["type"]> = Extract<Item, { readonly type: Type }>;

export function structure(tag: number, ...value: readonly Item[]): Field<"structure"> {
  return { tag, type: "structure", value };
}

export function integer(tag: number, value: number): Field<"integer"> {
  return { tag, type: "integer", value };
}

export function enumeration(tag: number, value: number): Field<"enumeration"> {
  return { tag, type: "enumeration", value };
}

/** `value` is UTF-16 without lone surrogates. */
export function text(tag: number, value: string): Field<"text"> {
  return { tag, type: "text", value };
}

/** Borrows `value` until the item has been encoded. */
export function bytes(tag: number, value: Buffer): Field<"bytes"> {
  return { tag, type: "bytes", value };
}

export function boolean(tag: number, value: boolean): Field<"boolean"> {
  return { tag, type: "boolean", value };
}

/** The values of all items with this tag. @throws TtlvError if one has another type */
export function all<Type extends Item["type"]>(
  items: readonly Item[],
  tag: number,
  type: Type,
): ValueOf<Type>[] {
  return items
    .filter((item) => item.tag === tag)
    .map((item) => {
      if (item.type !== type) throw new TtlvError(`the item ${name(tag)} is no ${type}`);
      return item.value as ValueOf<Type>;
    });
}

/** @throws TtlvError if there are several, or it has another type */
export function optional<Type extends Item["type"]>(
  items: readonly Item[],
  tag: number,
  type: Type,
): ValueOf<Type> | undefined {
  const [value, ...more] = all(items, tag, type);
  if (more.length > 0) throw new TtlvError(`there are several items ${name(tag)}`);
  return value;
}

/** @throws TtlvError if there is none, or several, or it has another type */
export function required<Type extends Item["type"]>(
  items: readonly Item[],
  tag: number,
  type: Type,
): ValueOf<Type> {
  const value = optional(items, tag, type);
  if (value === undefined) throw new TtlvError(`the item ${name(tag)} is missing`);
  return value;
}

function name(tag: number): string {
  return tag.toString(16);
}
