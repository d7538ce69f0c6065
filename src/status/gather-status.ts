import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { type Problem, problemOf } from "../error/problem.js";
import { shellWord } from "../error/shell-word.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { ConfiguredGuest, Guest } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { DiskFacts, KeyFact } from "../plan/facts.js";
import { withFittingLegacy } from "../plan/fitting-legacy.js";
import { gatherFacts } from "../plan/gather.js";
import { KeySession } from "../plan/key-session.js";
import { canBePlain } from "../plan/volume-content.js";
import { lastDrillOf } from "../recovery/drill-record.js";
import type { EncryptionRequest } from "../request/ask.js";
import { resolveRequests } from "../request/resolve.js";
import { kinDisks } from "../separate/clones.js";
import type { StorageRegistry } from "../storage/index.js";
import { volumeName } from "../storage/volume.js";
import { HEADER_VAULT, KEYRING, SETTINGS, STORAGE } from "../tokens.js";
import { headerOn, headerStatus } from "./disk-header.js";
import { type RememberedKey, rememberedKey } from "./remembered-key.js";
import { type DiskStatus, verdictOf } from "./verdict.js";

/** Every disk of a guest as its header, its key's record and the guest's configuration tell. Writes nothing. */
export async function diskStatuses(container: Container, guest: ConfiguredGuest): Promise<DiskStatus[]> {
  using session = new KeySession();
  const storage = container.resolve(STORAGE);
  const requests = await withFittingLegacy(guest, requestsOf(guest, container), storage);
  const facts = await gatherFacts(guest, requests, { keyring: container.resolve(KEYRING), storage }, session);
  return await Promise.all(facts.map((fact) => statusOf(container, fact, requests.get(fact.disk.dev))));
}

async function statusOf(
  container: Container,
  fact: DiskFacts,
  request: EncryptionRequest | undefined,
): Promise<DiskStatus> {
  const { disk } = fact;
  const storage = container.resolve(STORAGE);
  const found = await headerOn(fact, storage);
  const uuid = fact.kind === "annotated" ? fact.uuid : found?.header.uuid;
  const isKnown = keyIn(fact)?.kind === "found";
  const remembered = uuid === undefined || isKnown ? undefined : rememberedOf(container, fact, uuid);
  const isThere = found !== undefined && found.header.uuid === uuid;
  const protection = protectionOf(fact, remembered, isThere);
  const asked = { protection, askedBy: [...(request?.askedBy ?? [])] };
  const status: DiskStatus = {
    device: disk.dev,
    type: disk.type,
    volume: volumeName(disk.volume),
    ...asked,
    verdict: verdictOf(asked),
    ...(disk.mapping !== undefined && { mapping: disk.mapping }),
  };
  if (uuid === undefined) return status;
  return {
    ...status,
    ...keyStatus(uuid, fact),
    ...(found && (await headerStatus(found))),
    ...careOf(container, uuid),
    ...(await copyStatus(fact, storage)),
    ...(protection === "unknown" && remembered && problemWith(fact, uuid, remembered)),
  };
}

function keyIn(fact: DiskFacts): KeyFact | undefined {
  return fact.kind === "annotated" ? fact.key : fact.luks?.key;
}

/** As the keystore's record says. */
function keyStatus(uuid: KeyUuid, fact: DiskFacts): Partial<DiskStatus> {
  if (fact.kind === "plain" || fact.key.kind !== "found") return { key: uuid };
  const { encryption, createdAt, rotatedAt, recovery = [] }: KeyRecord = fact.key.record;
  const { keystore, cached } = fact.key;
  return {
    ...{ key: uuid, keystore, keyCreatedAt: createdAt },
    ...(rotatedAt !== undefined && { keyRotatedAt: rotatedAt }),
    ...(cached !== undefined && { cachedAt: cached.since.toISOString() }),
    ...{ format: encryption.format, cipher: encryption.cipher, keySize: encryption.keySize },
    openedBy: fact.disk.mapping === undefined ? "native" : "dm-crypt",
    recovery: recovery.map(({ kind }) => kind),
  };
}

/** Both open with one key, and who has it can read both. */
async function copyStatus(fact: DiskFacts, storage: StorageRegistry): Promise<Partial<DiskStatus>> {
  if (fact.kind === "plain") return {};
  const [kin] = await kinDisks([fact], storage);
  return kin?.kinship.kind === "copy" ? { copyOf: kin.kinship.of } : {};
}

/** What was done in case of need. */
function careOf(container: Container, uuid: KeyUuid): Partial<DiskStatus> {
  const copy = newestCopy(container, uuid);
  const drill = lastDrillOf(uuid);
  return {
    ...(copy !== undefined && { headerCopyAt: copy.toISOString() }),
    ...(drill !== undefined && { lastDrill: { at: drill.at.toISOString(), result: drill.result } }),
  };
}

/** A mapping of ours is named in what Luksmith itself has put into the guest's configuration. */
function rememberedOf(container: Container, { disk }: DiskFacts, uuid: KeyUuid): RememberedKey | undefined {
  const remembered = rememberedKey(container, uuid);
  if (remembered !== undefined || disk.mapping === undefined) return remembered;
  return { kind: "ours", by: ["a mapping in the guest's configuration"] };
}

/** Where a keystore does not answer, that is the problem, which its guest's start would have as well. */
function problemWith(
  fact: DiskFacts,
  uuid: KeyUuid,
  remembered: RememberedKey,
): { readonly problem?: Problem } {
  const { dev, volume } = fact.disk;
  if (keyIn(fact)?.kind === "unavailable") return {};
  if (remembered.kind === "unreadable") return { problem: problemOf(remembered.error.within(`disk ${dev}`)) };
  const left = remembered.kind === "ours" ? remembered.by.join(", ") : "a record that it was shredded";
  const isAsked = keyIn(fact) !== undefined;
  return {
    problem: {
      code: "KEY_NOT_FOUND",
      what: isAsked
        ? `disk ${dev} is Luksmith's, and its key ${uuid} is in no keystore`
        : `disk ${dev} is Luksmith's, and its encryption block does not name its key ${uuid}`,
      why: `this host has ${left}`,
      hint: isAsked
        ? `bring its keystore back, or: luksmith recover ${shellWord(volumeName(volume))}`
        : "put the UUID into its block, or take the block out and run luksmith protect",
    },
  };
}

/** A vault that cannot be read has no copies for anybody. */
function newestCopy(container: Container, uuid: KeyUuid): Date | undefined {
  try {
    return container.resolve(HEADER_VAULT).backups(uuid)[0]?.takenAt;
  } catch (thrown) {
    asLuksmithError(thrown);
    return undefined;
  }
}

/** A guest whose wishes conflict has no valid request; the conflict itself is its `problem`. */
function requestsOf(guest: Guest, container: Container): ReadonlyMap<string, EncryptionRequest> {
  try {
    return resolveRequests(guest, container.resolve(SETTINGS));
  } catch {
    return new Map();
  }
}

/** @param isThere whether its volume has the header of the key that it names */
function protectionOf(
  fact: DiskFacts,
  remembered: RememberedKey | undefined,
  isThere: boolean,
): DiskStatus["protection"] {
  if (remembered?.kind === "shredded" && !isThere) return "shredded";
  if (fact.kind === "plain") {
    // its block was lost: no start writes to it
    if (remembered !== undefined || (fact.luks && fact.luks.key.kind !== "unknown")) return "unknown";
    return fact.disk.encrypted ? "foreign" : "plain";
  }
  switch (fact.key.kind) {
    case "unavailable":
      return "unknown";
    case "unknown":
      if (remembered !== undefined) return "unknown";
      if (fact.request === undefined) return "foreign";
      return fact.probe?.kind === "empty" ? "pending" : "unknown";
    case "found":
      if (fact.key.record.state === "pending") return "pending";
      if (fact.key.record.conversion !== undefined) return "unknown";
      if (fact.key.record.encryption.format === "plain")
        return canBePlain(fact.probe) ? "encrypted" : "unknown";
      return isThere ? "encrypted" : "unknown";
  }
}
