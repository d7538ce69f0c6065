import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import type { Guest } from "../host/host-adapter.js";
import { newKeyRecord } from "../keystore/key-record.js";
import type { Probe } from "../storage/storage-backend.js";
import { isMappable, volumeName } from "../storage/volume.js";
import { cannotStart } from "./cannot-start.js";
import { conversionCommand, protectCommand } from "./commands.js";
import type { AnnotatedDisk, DiskFacts } from "./facts.js";
import { belongsTo, isRecorded, keyInUse, refuseSharedKey, refuseSharedMapping } from "./key-ownership.js";
import { refuseLostBlock, refuseMoved, refusePlainOverlay } from "./refusals.js";
import { type AnnotatedKey, type DiskKey, type OpeningKey, planOf, type Plan, type Step } from "./step.js";
import { formatDiffers, requireContentOf, volumeProblem } from "./volume-content.js";

/**
 * What must be done so that the guest can start: keys for disks that an orchestrator defined (adoption), LUKS
 * headers for disks that are new, the passphrases of all. Pure; a refusal is thrown before anything was changed.
 */
export function planPreStart(guest: Guest, facts: readonly DiskFacts[], now: Date): Plan {
  refuseSharedKey(
    cannotStart(guest),
    facts.filter(isKeyFound).map((fact) => ({ ...diskKey(fact), of: fact.disk })),
  );
  const ours: PreparedDisk[] = [];
  for (const fact of facts) {
    switch (fact.kind) {
      case "plain":
        refuseMoved(guest, fact);
        refuseLostBlock(guest, fact);
        refusePlainOverlay(guest, fact);
        break;
      case "annotated": {
        const prepared = prepare(guest, fact, now);
        if (prepared !== undefined) ours.push(prepared);
        break;
      }
    }
  }
  refuseSharedMapping(
    cannotStart(guest),
    ours.map(({ fact }) => mappedKey(fact)),
  );
  const native = ours.filter(({ opening }) => opening === undefined);
  const secrets = native.flatMap(({ fact }) => [diskKey(fact), ...baseKeys(guest, fact)]);
  const providing: Step[] = secrets.length === 0 ? [] : [{ kind: "provide-secrets", secrets }];
  return planOf(
    ours.flatMap(({ store }) => store),
    ours.flatMap(({ format }) => format),
    ours.flatMap(({ activate }) => activate),
    [...providing, ...ours.flatMap(({ opening }) => opening ?? [])],
  );
}

function isKeyFound(fact: DiskFacts): fact is AnnotatedDisk {
  return fact.kind === "annotated" && fact.key.kind === "found";
}

function diskKey({ disk, uuid }: AnnotatedDisk): DiskKey {
  return { disk: disk.dev, uuid };
}

function mappedKey({ disk, uuid }: AnnotatedDisk): AnnotatedKey {
  const { dev, mapping: name, volume, encryption_format: format } = disk;
  if (name === undefined || format === undefined || !isMappable(volume)) return { disk: dev, uuid };
  return { disk: dev, uuid, mapping: { name, format, volume } };
}

/**
 * The keys of what the disk lies over. Whose they are does not matter, nor in which state: a base is only opened. One
 * that no keystore has is left to the host where nobody asks for the disk, as its own would be.
 */
function baseKeys(guest: Guest, { disk, request, bases }: AnnotatedDisk): OpeningKey[] {
  return bases.flatMap(({ uuid, key }): OpeningKey[] => {
    const what = `${cannotStart(guest)}: disk ${disk.dev} lies over a volume that is encrypted under key ${uuid}`;
    switch (key.kind) {
      case "found":
        return [{ disk: disk.dev, uuid, opens: "base" }];
      case "unavailable":
        throw key.error.within(what);
      case "unknown":
        if (request === undefined) return [];
        throw new LuksmithError("KEY_NOT_FOUND", {
          what,
          why: "no keystore has it",
          hint: "restore the key record from a backup of the keystore; nothing was changed",
        });
    }
  });
}

interface PreparedDisk {
  readonly fact: AnnotatedDisk;
  readonly store: readonly Step[];
  readonly format: readonly Step[];
  readonly activate: readonly Step[];
  /** Absent where QEMU itself opens the volume, with a host secret. */
  readonly opening?: Step;
}

/** The steps of one disk, or undefined if its encryption block is not ours. */
function prepare(guest: Guest, fact: AnnotatedDisk, now: Date): PreparedDisk | undefined {
  const { key, probe, refusedEngine } = fact;
  if (refusedEngine !== undefined) throw refusedEngine.within(`${cannotStart(guest)}: disk ${fact.disk.dev}`);
  switch (key.kind) {
    case "unavailable":
      throw key.error.within(`${cannotStart(guest)}: disk ${fact.disk.dev} needs key ${fact.uuid}`);
    case "unknown":
      if (fact.request !== undefined && probe !== undefined) return adopt(guest, fact, probe, now);
      // an encryption block can be somebody else's, whose secret the host has; a mapping is opened by nobody but us
      if (fact.disk.mapping === undefined) return undefined;
      throw new LuksmithError("KEY_NOT_FOUND", {
        what: `${cannotStart(guest)}: disk ${fact.disk.dev} needs key ${fact.uuid}`,
        why: "no keystore has it",
        hint: "restore the key record from a backup of the keystore; nothing was changed",
      });
    case "found":
      requireUsable(guest, fact, key.record);
      switch (key.record.state) {
        case "archived":
          throw archived(guest, fact, key.record);
        case "active":
          requireContentOf(guest, fact, key.record);
          return withOpening(guest, { fact, store: [], format: [], activate: [] }, key.record);
        case "pending":
          requireNew(guest, fact, probe);
          return usePending(guest, fact, key.record, key.keystore);
      }
  }
}

/** What is half plaintext and half ciphertext would be destroyed by whoever opens it as either. */
function requireUsable(guest: Guest, { disk }: AnnotatedDisk, { conversion }: KeyRecord): void {
  if (conversion === undefined) return;
  const verb = conversion.to === "encrypted" ? "encrypted" : "decrypted";
  throw new LuksmithError("CONVERSION_UNFINISHED", {
    what: `${cannotStart(guest)}: disk ${disk.dev} is being ${verb} in place`,
    why: `that began at ${conversion.startedAt}, and has not ended`,
    hint: `wait until it has; if it was cut short, it goes on with: ${conversionCommand(guest, disk.dev, conversion.to)}`,
  });
}

function archived(guest: Guest, { disk, uuid }: AnnotatedDisk, record: KeyRecord): LuksmithError {
  return new LuksmithError("KEY_ARCHIVED", {
    what: `${cannotStart(guest)}: the encryption block of disk ${disk.dev} names ${uuid}, which is a former passphrase`,
    ...(record.archived && { why: `key ${record.archived.of} had it until ${record.archived.at}` }),
    hint: "put the key's own UUID there",
  });
}

/**
 * The definition asks for encryption and brought a secret UUID of its own: a key is made under it. Only the
 * allocation map counts as proof that the volume is new, since no record of ours says so.
 */
function adopt(guest: Guest, fact: AnnotatedDisk, probe: Probe, now: Date): PreparedDisk {
  if (probe.kind !== "empty") throw adoptionRefused(guest, fact, probe);
  const { request, disk, uuid } = fact;
  if (request === undefined) throw new Error("only a disk that is asked for is adopted");
  const record = newKeyRecord({ uuid, guest, disk: disk.dev, volume: volumeName(disk.volume), request, now });
  return formatNew(guest, fact, record, request.keystore, [
    { kind: "store-key", keystore: request.keystore, record },
  ]);
}

function formatNew(
  guest: Guest,
  fact: AnnotatedDisk,
  record: KeyRecord,
  keystore: string,
  store: readonly Step[],
): PreparedDisk {
  const { disk } = fact;
  const provider = disk.mapping === undefined ? {} : { provider: "dm-crypt" as const };
  return withOpening(
    guest,
    {
      fact,
      store,
      format: [{ kind: "format", disk: disk.dev, volume: disk.volume, record, ...provider }],
      activate: [{ kind: "activate-key", keystore, record }],
    },
    record,
  );
}

/** A disk that names a mapping is given it; one with an encryption block needs a host secret instead. */
function withOpening(guest: Guest, prepared: PreparedDisk, { encryption }: KeyRecord): PreparedDisk {
  const { disk, uuid } = prepared.fact;
  const { dev, mapping, volume, encryption_format: annotated } = disk;
  if (annotated !== undefined && annotated !== encryption.format)
    throw formatDiffers(guest, prepared.fact, encryption.format);
  if (mapping === undefined) return prepared;
  if (!isMappable(volume)) throw new Error(`mapping ${mapping} is over a volume that cannot be mapped`);
  return { ...prepared, opening: { kind: "open-mapping", disk: dev, uuid, mapping, volume, encryption } };
}

/**
 * A pending key's volume must be new or carry this key's header already (an earlier start was cut short). The step
 * looks again, deeper and under the volume's lock; this spares a refusal in the middle of the work.
 */
function requireNew(guest: Guest, fact: AnnotatedDisk, probe: Probe | undefined): void {
  switch (probe?.kind) {
    case undefined:
    case "empty":
    case "allocated":
      return;
    case "luks":
      if (probe.header.uuid === fact.uuid) return;
      break;
    case "bad-luks":
      if (probe.claimedUuid === fact.uuid) return;
      break;
    case "data":
    case "absent":
    case "unreadable":
      break;
  }
  throw volumeProblem(guest, fact, probe);
}

/**
 * A pending key is our record that one volume of one guest is new, and none for any other: that is only opened, and
 * only if it has the key's header (its guest was defined anew, or the keystore restored from a backup).
 */
function usePending(guest: Guest, fact: AnnotatedDisk, record: KeyRecord, keystore: string): PreparedDisk {
  const hasHeader = fact.probe?.kind === "luks";
  if (!hasHeader && !isRecorded(guest, fact.disk, record))
    throw keyInUse(cannotStart(guest), guest, fact.disk, record);
  const prepared = formatNew(guest, fact, record, keystore, []);
  // the format step can make a torn header anew, and only the lock of the record's guest lets anybody do that
  return belongsTo(guest, record) ? prepared : { ...prepared, format: [] };
}

function adoptionRefused(
  guest: Guest,
  fact: AnnotatedDisk,
  probe: Exclude<Probe, { kind: "empty" }>,
): LuksmithError {
  if (probe.kind === "allocated") {
    return new LuksmithError("VOLUME_NOT_PROVEN_EMPTY", {
      what: `${cannotStart(guest)}: disk ${fact.disk.dev} asks for encryption under key ${fact.uuid}, which no keystore has`,
      why: `${volumeName(fact.disk.volume)} has allocated blocks, so its allocation map does not prove that it is new`,
      hint: `if the disk is new, remove its encryption block and run: ${protectCommand(guest, [fact.disk.dev])}; if it was encrypted before, bring back its key`,
    });
  }
  if (probe.kind === "luks") {
    return new LuksmithError("KEY_NOT_FOUND", {
      what: `${cannotStart(guest)}: disk ${fact.disk.dev} needs key ${fact.uuid}`,
      why: `no keystore has it, and ${volumeName(fact.disk.volume)} already is encrypted (LUKS UUID ${probe.header.uuid})`,
      hint: "restore the key record from a backup of the keystore; nothing was changed",
    });
  }
  return volumeProblem(guest, fact, probe);
}
