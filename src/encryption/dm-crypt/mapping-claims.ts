import { readdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../../fs/atomic-file.js";
import { PRIVATE_FILE, readGuardedFile } from "../../fs/guarded-file.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { parseKeyUuid } from "../../keystore/key-uuid.js";
import type { MappingClaim, MappingOwner } from "../encryption-provider.js";
import { isMappingName } from "./mapping-name.js";

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
  write(claim: MappingClaim): void {
    const { name, guest, disk, uuid, volume } = claim;
    const text = JSON.stringify({ name, guest: { id: guest.id, name: guest.name }, disk, uuid, volume });
    this.#change(() => {
      makeDirectory(this.directory, 0o700);
      removeLeftovers(this.directory);
      replaceFile(this.#pathOf(name), Buffer.from(`${text}\n`), 0o600);
    });
  }

  /** Idempotent. @throws NOT_PERMITTED */
  remove(name: string): void {
    this.#change(() => removeFile(this.#pathOf(name)));
  }

  read(name: string): MappingClaim | undefined {
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

  all(): MappingClaim[] {
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

function parseClaim(name: string, text: string): MappingClaim | undefined {
  const claim = objectOf(tryParse(text));
  const guest = ownerOf(claim?.["guest"]);
  const [disk, uuid, volume] = ["disk", "uuid", "volume"].map((key) => textOf(claim?.[key]));
  const key = uuid === undefined ? undefined : parseKeyUuid(uuid);
  if (claim?.["name"] !== name || guest === undefined || disk === undefined || volume === undefined)
    return undefined;
  return key === undefined ? undefined : { name, guest, disk, uuid: key, volume };
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
