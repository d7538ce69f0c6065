import { isMappingName } from "../encryption/dm-crypt/mapping-name.js";
import type { EncryptionFormat } from "../encryption/luks-spec.js";
import { parseKeyUuid } from "../keystore/key-uuid.js";
import type { AnnotatedKey, CopiedDisk } from "../plan/step.js";
import type { PathVolume } from "../storage/volume.js";
import type { NotedArrival } from "./arrivals.js";

type Members = Partial<Record<string, unknown>>;

/** The note that `text` is, or undefined: what it says gets into a guest's configuration. */
export function parseArrival(text: string): NotedArrival | undefined {
  const note = objectOf(tryParse(text));
  const guest = objectOf(note?.["guest"]);
  const [id, name, nonce] = [textOf(guest?.["id"]), textOf(guest?.["name"]), textOf(note?.["nonce"])];
  const stage = (["announced", "arrived"] as const).find((known) => known === note?.["stage"]);
  const since = new Date(textOf(note?.["since"]) ?? Number.NaN);
  const copies = listOf(note?.["copies"], copiedDisk);
  if (id === undefined || name === undefined || nonce === undefined) return undefined;
  if (stage === undefined || copies === undefined || Number.isNaN(since.getTime())) return undefined;
  // of a note that does not say it, the worse is believed
  const defined = note?.["defined"] !== false;
  return { guest: { id, name }, copies, stage, since, defined, nonce };
}

function copiedDisk(value: unknown): CopiedDisk | undefined {
  const copy = objectOf(value);
  const disk = deviceOf(copy?.["disk"]);
  const [from, to] = [annotatedKey(copy?.["from"]), annotatedKey(copy?.["to"])];
  if (disk === undefined || from?.disk !== disk || to?.disk !== disk) return undefined;
  return { disk, from, to };
}

function annotatedKey(value: unknown): AnnotatedKey | undefined {
  const key = objectOf(value);
  const disk = deviceOf(key?.["disk"]);
  const uuid = parseKeyUuid(textOf(key?.["uuid"]) ?? "");
  if (key === undefined || disk === undefined || uuid === undefined) return undefined;
  const engine = key["engine"] === "librbd" ? ({ engine: "librbd" } as const) : {};
  if (key["engine"] !== undefined && engine.engine === undefined) return undefined;
  if (key["mapping"] === undefined) return { disk, uuid, ...engine };
  const mapping = mappingOf(objectOf(key["mapping"]));
  return mapping && { disk, uuid, ...engine, mapping };
}

const FORMATS = ["plain", "luks", "luksv2"] as const satisfies readonly EncryptionFormat[];

function mappingOf(value: Members | undefined): AnnotatedKey["mapping"] {
  const name = textOf(value?.["name"]);
  const format = FORMATS.find((known) => known === value?.["format"]);
  const volume = volumeOf(objectOf(value?.["volume"]));
  if (name === undefined || !isMappingName(name)) return undefined;
  return format && volume && { name, format, volume };
}

/** dm-crypt sees bytes, and no image format inside them. */
function volumeOf(value: Members | undefined): PathVolume | undefined {
  const kind = (["file", "block"] as const).find((known) => known === value?.["kind"]);
  const path = textOf(value?.["path"]);
  if (kind === undefined || path?.startsWith("/") !== true || value?.["format"] !== "raw") return undefined;
  return { kind, path, format: "raw" };
}

function deviceOf(value: unknown): string | undefined {
  const text = textOf(value);
  return text !== undefined && /^[a-z0-9]{1,32}$/i.test(text) ? text : undefined;
}

/** Undefined if one of them is not what it must be. */
function listOf<T>(value: unknown, parse: (member: unknown) => T | undefined): T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const members = value.flatMap((member) => parse(member) ?? []);
  return members.length === value.length ? members : undefined;
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Members | undefined {
  return typeof value === "object" && value !== null ? value : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
