/** Why metadata cannot be used; what a reader throws and its outermost function catches. */
export class UnusableMetadata extends Error {}

/** As deep as json-c lets it be: cryptsetup reads no more. */
const DEEPEST = 32;

/** Metadata that anybody may have written: every answer has the type that was asked for. */
export class JsonObject {
  private constructor(
    private readonly path: string,
    private readonly fields: Readonly<Record<string, unknown>>,
  ) {}

  /** @param area ends with zeros, at least one @throws UnusableMetadata */
  static parse(area: Buffer): JsonObject {
    const end = area.indexOf(0);
    const isPadded = end !== -1 && area.subarray(end).every((byte) => byte === 0);
    if (!isPadded || area[0] !== "{".charCodeAt(0)) throw new UnusableMetadata("holds no JSON object");
    const value = parsed(area.subarray(0, end));
    if (isDeeper(value, DEEPEST)) throw new UnusableMetadata("nests its metadata too deep");
    return JsonObject.of("metadata", value);
  }

  private static of(path: string, value: unknown): JsonObject {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new UnusableMetadata(`has no usable ${path}`);
    return new JsonObject(path, value as Readonly<Record<string, unknown>>);
  }

  get names(): readonly string[] {
    return Object.keys(this.fields);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.fields, name);
  }

  object(name: string): JsonObject {
    return JsonObject.of(`${this.path}.${name}`, this.field(name));
  }

  text(name: string, shape: RegExp): string {
    const value = this.field(name);
    if (typeof value === "string" && shape.test(value)) return value;
    throw this.unusable(name);
  }

  texts(name: string): readonly string[] {
    const value = this.field(name);
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    throw this.unusable(name);
  }

  integer(name: string, least: number, most: number): number {
    const value = this.field(name);
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
      return value as number;
    throw this.unusable(name);
  }

  /** What takes the host's time or memory when a passphrase is tried. */
  cost(name: string, least: number, most: number): number {
    const cost = this.integer(name, least, Infinity);
    if (cost > most)
      throw new UnusableMetadata(`has too much of ${this.path}.${name}: ${cost}, where ${most} is the most`);
    return cost;
  }

  /** Of bytes, which LUKS2 writes as text. */
  bytes(name: string): number {
    return Number(this.text(name, /^[0-9]{1,15}$/));
  }

  unusable(name: string): UnusableMetadata {
    return new UnusableMetadata(`has no usable ${this.path}.${name}`);
  }

  private field(name: string): unknown {
    return this.has(name) ? this.fields[name] : undefined;
  }
}

function parsed(text: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(text));
  } catch {
    throw new UnusableMetadata("holds metadata that is no JSON");
  }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
