/**
 * Tag, type, length, value: how KMIP writes everything (KMIP 1.4, section 9.1). What comes from the
 * network is believed in nothing: types are known, fixed lengths exact, padding is zero, text is UTF-8, and size, depth
 * and number of items are bounded.
 */

/** What a value of each type is here. `bytes` that were decoded are a view of the message, which its reader wipes. */
interface Values {
  structure: readonly Item[];
  integer: number;
  "long-integer": bigint;
  "big-integer": Buffer;
  enumeration: number;
  boolean: boolean;
  text: string;
  bytes: Buffer;
  "date-time": bigint;
  interval: number;
  "date-time-extended": bigint;
}

type ItemType = keyof Values;
export type ValueOf<Type extends ItemType> = Values[Type];
export type Item = {
  readonly [Type in ItemType]: { readonly tag: number; readonly type: Type; readonly value: Values[Type] };
}[ItemType];

/** The only thing that `decode` throws; its message quotes nothing of the input. */
export class TtlvError extends Error {
  override readonly name = "TtlvError";
}

/** Bytes of a message at most: what we ask servers to keep to, and PyKMIP's own limit. */
export const MESSAGE_LIMIT = 1024 * 1024;
/** Bytes before a value. */
export const HEADER_BYTES = 8;
const DEPTH_LIMIT = 16;
const ITEM_LIMIT = 65_536;

/** Codes of the types: KMIP 1.4, section 9.1.1.2; the last is of 2.0. */
const TYPES = {
  structure: 1,
  integer: 2,
  "long-integer": 3,
  "big-integer": 4,
  enumeration: 5,
  boolean: 6,
  text: 7,
  bytes: 8,
  "date-time": 9,
  interval: 10,
  "date-time-extended": 11,
} as const satisfies Record<ItemType, number>;

const TYPE_OF = new Map(Object.entries(TYPES).map(([type, code]) => [code as number, type as ItemType]));
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes of `item` in one buffer, the only copy of the secrets in it; the caller wipes it. */
export function encode(item: Item): Buffer {
  const output = Buffer.alloc(HEADER_BYTES + padded(lengthOf(item)));
  write(item, output, 0);
  return output;
}

/** The one item that `message` is. @throws TtlvError */
export function decode(message: Buffer): Item {
  if (message.length > MESSAGE_LIMIT) throw new TtlvError(`it has more than ${MESSAGE_LIMIT} bytes`);
  const [item, ...more] = new Reader(message).items(0, message.length, 0);
  if (item === undefined || more.length > 0) throw new TtlvError("it is not one item");
  return item;
}

/**
 * Bytes of the item whose first 8 bytes are these, header and padding included. @throws TtlvError if it cannot be a
 * message
 */
export function messageLength(header: Buffer): number {
  const length = header.readUInt32BE(4);
  if (header[3] !== TYPES.structure) throw new TtlvError("it is not a structure");
  if (length > MESSAGE_LIMIT - HEADER_BYTES) throw new TtlvError(`it has more than ${MESSAGE_LIMIT} bytes`);
  return HEADER_BYTES + padded(length);
}

function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** Bytes of the value, without padding. */
function lengthOf(item: Item): number {
  switch (item.type) {
    case "structure":
      return item.value.reduce((sum, inner) => sum + HEADER_BYTES + padded(lengthOf(inner)), 0);
    case "integer":
    case "enumeration":
    case "interval":
      return 4;
    case "long-integer":
    case "date-time":
    case "date-time-extended":
    case "boolean":
      return 8;
    case "text":
      return Buffer.byteLength(item.value);
    case "bytes":
    case "big-integer":
      return item.value.length;
  }
}

/** @returns where the next item begins */
function write(item: Item, output: Buffer, at: number): number {
  const length = lengthOf(item);
  output.writeUIntBE(item.tag, at, 3);
  output[at + 3] = TYPES[item.type];
  output.writeUInt32BE(length, at + 4);
  const start = at + HEADER_BYTES;
  switch (item.type) {
    case "structure":
      return item.value.reduce((next, inner) => write(inner, output, next), start);
    case "integer":
      output.writeInt32BE(item.value, start);
      break;
    case "enumeration":
    case "interval":
      output.writeUInt32BE(item.value, start);
      break;
    case "long-integer":
    case "date-time":
    case "date-time-extended":
      output.writeBigInt64BE(item.value, start);
      break;
    case "boolean":
      output.writeBigUInt64BE(item.value ? 1n : 0n, start);
      break;
    case "text":
      output.write(item.value, start, "utf8");
      break;
    case "bytes":
    case "big-integer":
      item.value.copy(output, start);
      break;
  }
  return start + padded(length);
}

class Reader {
  #count = 0;

  constructor(private readonly message: Buffer) {}

  items(from: number, end: number, depth: number): Item[] {
    if (depth > DEPTH_LIMIT) throw new TtlvError(`it is deeper than ${DEPTH_LIMIT} structures`);
    const items: Item[] = [];
    for (let at = from; at < end;) {
      if (++this.#count > ITEM_LIMIT) throw new TtlvError(`it has more than ${ITEM_LIMIT} items`);
      if (at + HEADER_BYTES > end) throw new TtlvError("an item is cut off");
      const length = this.message.readUInt32BE(at + 4);
      const start = at + HEADER_BYTES;
      const next = start + padded(length);
      if (next > end) throw new TtlvError("an item is longer than what holds it");
      for (let i = start + length; i < next; i++) {
        if (this.message[i] !== 0) throw new TtlvError("padding is not zero");
      }
      items.push(this.#item(at, start, start + length, depth));
      at = next;
    }
    return items;
  }

  #item(at: number, start: number, end: number, depth: number): Item {
    const tag = this.message.readUIntBE(at, 3);
    const type = TYPE_OF.get(this.message[at + 3] ?? 0);
    const raw = this.message.subarray(start, end);
    switch (type) {
      case "structure":
        return { tag, type, value: this.items(start, end, depth + 1) };
      case "integer":
        return { tag, type, value: exactly(raw, 4).readInt32BE() };
      case "enumeration":
      case "interval":
        return { tag, type, value: exactly(raw, 4).readUInt32BE() };
      case "long-integer":
      case "date-time":
      case "date-time-extended":
        return { tag, type, value: exactly(raw, 8).readBigInt64BE() };
      case "boolean":
        return { tag, type, value: booleanOf(exactly(raw, 8)) };
      case "text":
        return { tag, type, value: textOf(raw) };
      case "big-integer":
        if (raw.length === 0 || raw.length % 8 !== 0) throw new TtlvError("a number has the wrong length");
        return { tag, type, value: raw };
      case "bytes":
        return { tag, type, value: raw };
      case undefined:
        throw new TtlvError("an item has an unknown type");
    }
  }
}

function exactly(raw: Buffer, length: number): Buffer {
  if (raw.length !== length) throw new TtlvError("an item has a length that its type cannot have");
  return raw;
}

function booleanOf(raw: Buffer): boolean {
  const value = raw.readBigUInt64BE();
  if (value > 1n) throw new TtlvError("a boolean is neither true nor false");
  return value === 1n;
}

function textOf(raw: Buffer): string {
  try {
    return UTF8.decode(raw);
  } catch {
    throw new TtlvError("text is not UTF-8");
  }
}
