import type { KeyRecord } from "../../generated/key-record.js";
import { reading, writing } from "../file/failures.js";
import type { KeyUuid } from "../key-uuid.js";
import { CacheDirectory } from "./cache-directory.js";
import { systemInstant } from "./instant.js";
import { CACHE_PLACES } from "./places.js";
import { CachePolicy, type CacheSettings, type Medium, type Verdict } from "./policy.js";

/** One copy as it says of itself; nothing is opened for it. */
export interface CopyStatus {
  readonly uuid: KeyUuid;
  readonly medium: Medium;
  readonly directory: string;
  readonly state: Verdict | "damaged";
  /** Undefined for a damaged one. */
  readonly copy?: {
    readonly keystore: string;
    readonly since: Date;
    readonly expires: Date;
    readonly record: KeyRecord;
  };
}

/** Every copy that there is, usable or not. @throws PERMISSIONS_UNSAFE, SECRET_FILE_UNAVAILABLE, KEYSTORE_UNAVAILABLE */
export async function listCopies(
  settings: CacheSettings,
  places = CACHE_PLACES,
  now = systemInstant(),
): Promise<CopyStatus[]> {
  const policy = new CachePolicy(settings);
  const statusIn =
    (directory: CacheDirectory) =>
    (uuid: KeyUuid): CopyStatus[] => {
      const { medium, path } = directory;
      const where = { uuid, medium, directory: path };
      const copy = directory.read(uuid);
      // it was removed meanwhile
      if (copy === undefined) return [];
      if (copy === "damaged") return [{ ...where, state: "damaged" }];
      const { keystore, record, fetched } = copy;
      const expires = new Date(now.at.getTime() + Math.max(0, policy.secondsLeft(copy, now)) * 1000);
      const state = policy.judge(copy, medium, now);
      return [{ ...where, state, copy: { keystore, record, since: fetched.at, expires } }];
    };
  return reading("cannot list the cache", () =>
    directoriesOf(places).flatMap((directory) => directory.uuids().flatMap(statusIn(directory))),
  );
}

export interface Clearing {
  /** All copies, and the keys that they are sealed under, without it. */
  readonly uuids?: readonly KeyUuid[];
  readonly manner: "apply" | "dry-run";
}

export interface Cleared {
  readonly directory: string;
  readonly uuids: readonly KeyUuid[];
}

/** What was, or would be, removed; idempotent. @throws PERMISSIONS_UNSAFE, KEYSTORE_WRITE_FAILED */
export async function clearCopies({ uuids, manner }: Clearing, places = CACHE_PLACES): Promise<Cleared[]> {
  return writing("cannot clear the cache", () =>
    directoriesOf(places).flatMap((directory) => {
      const chosen = directory.uuids().filter((uuid) => uuids?.includes(uuid) ?? true);
      if (manner === "apply") {
        if (uuids === undefined) directory.removeAll();
        else for (const uuid of chosen) directory.remove(uuid);
      }
      return chosen.length === 0 ? [] : [{ directory: directory.path, uuids: chosen }];
    }),
  );
}

function directoriesOf(places: typeof CACHE_PLACES): CacheDirectory[] {
  return places.map((place) => new CacheDirectory(place));
}
