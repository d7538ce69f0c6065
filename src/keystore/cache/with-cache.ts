import type { ErrorCode } from "../../error/catalogue.js";
import type { KeyUuid } from "../key-uuid.js";
import type { Answer, Location } from "../keyring.js";
import type { KeyCache } from "./key-cache.js";

/** Access that was withdrawn, or a key that was: a host must not go on with its copy. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  "KEYSTORE_FORBIDDEN",
  "KEYSTORE_AUTH_FAILED",
  "KEY_DELETED",
]);

/**
 * The keystore has said nothing. Whoever has no credential has not even asked: an agent that fetches it from the server
 * which is away writes none after a restart of the host.
 */
const ABSENCES: ReadonlySet<ErrorCode> = new Set(["KEYSTORE_UNAVAILABLE", "KEYSTORE_CREDENTIAL_MISSING"]);

/**
 * Where a key is, for a host with a cache: what the keystores say, unless none of them has it and the one that gave it
 * out last does not answer. A server that cannot be trusted, or a damaged key, is no keystore that does not answer.
 */
export async function withCache(
  cache: KeyCache,
  uuid: KeyUuid,
  answers: readonly Answer[],
  location: Location,
): Promise<Location> {
  // who did not have a key that was on its way to him has it now
  const giver = location.kind === "found" ? location.keystore.name : undefined;
  const refusing = answers
    .filter((answer) => answer.from !== giver && isRefusal(answer))
    .map(({ from }) => from);
  // also where another keystore has the key, and whoever asks makes no copy of what that gives out
  if (refusing.length > 0) await cache.refused(refusing, uuid);
  if (location.kind === "found") {
    await cache.gaveOut(location.keystore.name, location.key);
    return location;
  }
  const away = new Map(answers.flatMap(absence));
  if (away.size === 0) return location;
  const copy = await cache.lookUp([...away.keys()], uuid);
  if (copy === undefined) return location;
  const { keystore: name, key, since } = copy;
  const error = away.get(name);
  if (error === undefined) throw new Error(`the cache answers for keystore ${name}, which was not asked for`);
  return { kind: "found", keystore: { name }, key, cached: { since, error } };
}

function isRefusal({ location }: Answer): boolean {
  switch (location.kind) {
    case "found":
      return false;
    case "unknown":
      return true;
    case "unavailable":
      return REFUSALS.has(location.error.code);
  }
}

function absence({ from, location }: Answer) {
  const isAway = location.kind === "unavailable" && ABSENCES.has(location.error.code);
  return isAway ? [[from, location.error] as const] : [];
}
