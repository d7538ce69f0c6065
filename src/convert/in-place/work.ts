import type { AuditLog } from "../../audit/audit-log.js";
import type { Clock } from "../../event/clock.js";
import { LuksFormatter } from "../../encryption/luks-formatter.js";
import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import type { LuksSpec } from "../../encryption/luks-spec.js";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { KeyRecord } from "../../generated/key-record.js";
import type { HeaderVault } from "../../headers/header-vault.js";
import type { HostAdapter } from "../../host/host-adapter.js";
import type { KeyLocks } from "../../keystore/key-locks.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import type { Keyring } from "../../keystore/keyring.js";
import type { Keystore } from "../../keystore/keystore.js";
import { conversionCommand } from "../../plan/commands.js";
import type { Secret } from "../../secret/secret.js";
import type { StorageRegistry } from "../../storage/index.js";
import type { StorageBackend } from "../../storage/storage-backend.js";
import type { PathVolume } from "../../storage/volume.js";
import type { VolumeLocks } from "../../storage/volume-lock.js";
import type { ConversionTask } from "../conversion.js";
import { requireShutOff } from "../guest-meanwhile.js";
import { type Found, findProgress } from "./find-progress.js";
import { type Progress, startOf } from "./geometry.js";
import type { Journal, JournalEntry } from "./journal.js";
import { beginMove, movePayload } from "./move-payload.js";
import { type LockedVolume, withLockedVolume } from "./open-volume.js";
import { limiter } from "./rate.js";
import { cannot, type Subject } from "./refusals.js";
import { Signposts } from "./signpost.js";
import { readVolumeKey } from "./volume-key.js";

/** What conversions in place are done with. */
export interface InPlacePorts {
  readonly host: HostAdapter;
  readonly keyring: Keyring;
  readonly storage: StorageRegistry;
  readonly vault: HeaderVault;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly runner: CommandRunner;
  readonly locks: VolumeLocks;
  readonly keyLocks: KeyLocks;
  readonly journal: Journal;
}

/** A key whose volume is converted. */
export interface WorkKey {
  readonly keystore: Keystore;
  readonly record: KeyRecord;
  readonly passphrase: Secret;
}

/** One disk, its volume and its key. */
export interface Work extends Subject {
  readonly task: ConversionTask;
  readonly volume: PathVolume;
  readonly backend: StorageBackend;
  readonly spec: LuksSpec;
  readonly key: WorkKey;
}

/** Bytes between two notes of the journal. */
const NOTE_EVERY = 64 * 1024 * 1024;

/** @throws as opening and locking it, in the words of a conversion */
export function withVolume<T>(
  work: Work,
  ports: InPlacePorts,
  task: (volume: LockedVolume) => Promise<T>,
): Promise<T> {
  return withLockedVolume(work.volume, ports, async (volume) => {
    // from here on no QEMU can open it; one that began before is seen now
    requireShutOff(await ports.host.readGuest(work.guest.id));
    return await task(volume);
  });
}

/**
 * How far an earlier call has come, of which the storage has all that it has written.
 * @throws CONVERT_FAILED for one that went the other way
 */
export async function progressOn(
  volume: LockedVolume,
  work: Work,
  hint: Progress | undefined,
): Promise<Found | undefined> {
  const { record, passphrase } = work.key;
  await volume.flush();
  const found = await findProgress(volume, { uuid: keyUuidOf(record), passphrase }, hint);
  if (found === undefined || found.progress.to === work.to) return found;
  found.signposts[Symbol.dispose]();
  throw lost(work, found.progress);
}

/** Moves all that is not moved yet. @param found undefined where nothing is */
export async function moveAll(
  volume: LockedVolume,
  work: Work,
  { ports, found, entry, header }: Moving,
): Promise<Progress> {
  const { task, key } = work;
  using signposts =
    found?.signposts ??
    Signposts.seal(
      entry.uuid,
      key.passphrase,
      await readVolumeKey(ports.runner, header, key.passphrase, work.spec.keySize),
    );
  const begin = found?.progress ?? { to: entry.to, payload: entry.payload, mark: entry.mark };
  await volume.assertHeld();
  if (found === undefined) await beginMove(begin, { volume, signposts });
  // only now: known to move, and without a signpost, would be a volume that nobody can bring back
  await key.keystore.change(entry.uuid, (record) => moving(record, begin, entry.startedAt));
  using bar = task.watcher.begin(
    work.to === "encrypted" ? "encrypting" : "decrypting",
    BigInt(begin.payload),
  );
  const wait = limiter(task.rate);
  let unnoted = 0;
  return await movePayload(begin, {
    volume,
    signposts,
    async moved(progress, bytes) {
      const done = work.to === "encrypted" ? progress.payload - progress.mark : progress.mark;
      bar.percent(Math.floor((100 * done) / progress.payload));
      unnoted += bytes;
      if (unnoted >= NOTE_EVERY) {
        unnoted = 0;
        ports.journal.note({ ...entry, ...progress });
        await volume.assertHeld();
      }
      await wait(bytes);
    },
  });
}

/** The record of a key whose volume tells how far it is, by a signpost that the storage has. */
function moving(record: KeyRecord, { to, payload }: Progress, startedAt: string): KeyRecord {
  return { ...record, conversion: { to, startedAt: record.conversion?.startedAt ?? startedAt, payload } };
}

interface Moving {
  readonly ports: InPlacePorts;
  readonly found: Found | undefined;
  readonly entry: JournalEntry;
  readonly header: Buffer;
}

/** A header of this key for a payload that is encrypted with `volumeKey`, to the payload; a new one without it. */
export async function makeHeader(work: Work, { runner }: InPlacePorts, volumeKey?: Secret): Promise<Buffer> {
  const { record, passphrase } = work.key;
  const formatter = new LuksFormatter(runner);
  const image = await formatter.makeHeader(keyUuidOf(record), work.spec, passphrase, volumeKey);
  const header = Buffer.alloc(PAYLOAD_OFFSET);
  for (const { offset, bytes } of image.pieces) bytes.copy(header, offset);
  return header;
}

/** Proves that the keystore has what is to be written. @throws KEY_NOT_FOUND, KEY_CORRUPT and the keystore's own */
export async function requireStored(work: Work): Promise<void> {
  const { keystore, record, passphrase } = work.key;
  const stored = await keystore.fetch(keyUuidOf(record));
  using secret = stored?.passphrase;
  if (secret?.equals(passphrase) === true && stored?.record.conversion?.to === record.conversion?.to) return;
  throw new LuksmithError(stored === undefined ? "KEY_NOT_FOUND" : "KEY_CORRUPT", {
    what: `${cannot(work)}: keystore ${keystore.name} does not give back what it was given under key ${record.uuid}`,
    hint: "put the keystore right; no byte of the volume was changed",
  });
}

/** The record of a key whose volume is all one thing again. */
export function converted(record: KeyRecord): KeyRecord {
  if (record.conversion === undefined) return record;
  const left = { ...record };
  delete left.conversion;
  return left;
}

/** What was thrown when bytes have been moved: the disk is neither, and how it goes on is what matters. */
export function unfinished(work: Work, thrown: unknown): LuksmithError {
  const error = asLuksmithError(thrown);
  const { guest, disk, to } = work;
  return new LuksmithError(error.code, {
    what: `${cannot(work)}: ${error.message.replace(/^cannot format volume /, "cannot convert volume ")}`,
    ...(error.why !== undefined && { why: error.why }),
    hint: `put this right, then it goes on with: ${conversionCommand(guest, disk.dev, to)}; until then the guest does not start`,
    cause: error,
  });
}

/** Whether the journal knows of more than what the volume began with. */
export function hasMoved({ to, payload, mark }: Progress): boolean {
  return mark !== startOf(to, payload);
}

/** What is neither here nor there is left alone. @param known how far it was, if more is known than that it has begun */
export function lost(work: Work, known?: Pick<Progress, "to" | "mark">): LuksmithError {
  const far =
    known === undefined
      ? `its key's record says that a conversion to ${work.to} of it has begun to move its data`
      : `a conversion to ${known.to} of it has come to byte ${known.mark} at least`;
  return new LuksmithError("CONVERT_FAILED", {
    what: `${cannot(work)}: nothing on ${work.volume.path} tells how far it is`,
    why: far,
    hint: "the volume is not the one that was converted, or was damaged or replaced since: bring it back, and run it again",
  });
}
