import { randomUUID } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile } from "../../fs/guarded-file.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { parseKeyUuid } from "../../keystore/key-uuid.js";
import type { MappingClaim, MappingOwner } from "../encryption-provider.js";
import type { EncryptionFormat } from "../luks-spec.js";
import { isMappingName } from "./mapping-name.js";

/** A claim, with what tells the mapping that was opened for it from all others. */
export interface KeptClaim extends MappingClaim {
  readonly format: EncryptionFormat;
  /** `MAJOR:MINOR` of the volume; null for a file, which is given a loop device only when it is opened. */
  readonly device: string | null;
  /** Of this one opening: a later one for the same guest has another. */
  readonly nonce: string;
}

/** Longer than any claim that we write. */
const LIMIT = 64 * 1024;

/**
 * What Luksmith has opened on this host, one file for each mapping, under the mapping's name. A file that is no claim
 * of ours is none: nothing is ever closed on its word.
 */
export class MappingClaims {
  /** @param directory is on tmpfs: claims end with the mappings, when the host restarts */
  constructor(private readonly directory: string) {}

  /** Replaces the one of this name. @throws NOT_PERMITTED */
  write({ name, guest, disk, uuid, volume, format, device }: Omit<KeptClaim, "nonce">): KeptClaim {
    const owner = { id: guest.id, name: guest.name };
    const claim = { name, guest: owner, disk, uuid, volume, format, device, nonce: randomUUID() };
    const text = JSON.stringify(claim);
    this.#change(() => {
      makeDirectory(this.directory, 0o700);
      removeLeftovers(this.directory);
      replaceFile(this.#pathOf(name), Buffer.from(`${text}\n`), 0o600);
    });
    return claim;
  }

  /** Idempotent. @throws NOT_PERMITTED */
  remove(name: string): void {
    this.#change(() => removeFile(this.#pathOf(name)));
  }

  read(name: string): KeptClaim | undefined {
    if (!isMappingName(name)) return undefined;
    try {
      const bytes = readGuardedFile(this.#pathOf(name), PRIVATE_FILE, LIMIT);
      return bytes === undefined ? undefined : parseClaim(name, bytes.toString());
    } catch (thrown) {
      // a directory, a link, a file of somebody else: none of it is ours
      if (thrown instanceof LuksmithError || errnoOf(thrown) !== undefined) return undefined;
      throw thrown;
    }
  }

  all(): KeptClaim[] {
    return this.#names().flatMap((name) => this.read(name) ?? []);
  }

  #names(): string[] {
    try {
      return readdirSync(this.directory);
    } catch (thrown) {
      // nothing was opened since the host started
      if (errnoOf(thrown) === undefined) throw thrown;
      return [];
    }
  }

  #pathOf(name: string): string {
    return join(this.directory, name);
  }

  #change(work: () => void): void {
    try {
      work();
    } catch (thrown) {
      const error = systemErrorOf(thrown);
      if (error === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot keep record of mappings in ${this.directory}`,
        why: error.text,
        hint: "run luksmith as root, and see that /run is a tmpfs with free space",
      });
    }
  }
}

const FORMATS = ["plain", "luks", "luksv2"] as const satisfies readonly EncryptionFormat[];

function parseClaim(name: string, text: string): KeptClaim | undefined {
  const claim = objectOf(tryParse(text));
  const guest = ownerOf(claim?.["guest"]);
  const [disk, uuid, volume, nonce] = ["disk", "uuid", "volume", "nonce"].map((key) => textOf(claim?.[key]));
  const key = uuid === undefined ? undefined : parseKeyUuid(uuid);
  if (claim?.["name"] !== name || guest === undefined || disk === undefined || volume === undefined)
    return undefined;
  const format = FORMATS.find((known) => known === claim["format"]);
  const device = claim["device"] === null ? null : textOf(claim["device"]);
  if (key === undefined || nonce === undefined || format === undefined || device === undefined)
    return undefined;
  return { name, guest, disk, uuid: key, volume, format, device, nonce };
}

function ownerOf(value: unknown): MappingOwner | undefined {
  const owner = objectOf(value);
  const [id, name] = [textOf(owner?.["id"]), textOf(owner?.["name"])];
  return id === undefined || name === undefined ? undefined : { id, name };
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Partial<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null ? value : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
