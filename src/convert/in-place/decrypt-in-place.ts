import { recordFailure } from "../../audit/recorded.js";
import { PAYLOAD_OFFSET, readLuksHeader } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyRecord } from "../../generated/key-record.js";
import { digestOf } from "../../headers/backup-file.js";
import type { DiskAnnotation } from "../../host/host-adapter.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import { type Plan, planOf } from "../../plan/step.js";
import { otherKeyHint } from "../../plan/volume-content.js";
import { payloadSize } from "../../storage/sectors.js";
import { identityOf } from "../volume-identity.js";
import { zeroTail } from "./finish-move.js";
import type { Progress } from "./geometry.js";
import type { JournalEntry } from "./journal.js";
import type { LockedVolume } from "./open-volume.js";
import { recordBegin, recordEnd, useOf } from "./record-conversion.js";
import { cannot, unsupported } from "./refusals.js";
import {
  converted,
  type InPlacePorts,
  lost,
  makeHeader,
  moveAll,
  progressOn,
  requireStored,
  unfinished,
  type Work,
  withVolume,
} from "./work.js";

type Unheaded = Omit<JournalEntry, "headerDigest">;

/** What the volume is, with what an earlier call has noted, or what would be noted now. */
type State =
  | {
      readonly kind: "unfinished";
      /** Undefined where nothing is moved yet. */
      readonly found: Progress | undefined;
      readonly entry: Unheaded;
      readonly header: Buffer;
    }
  | { readonly kind: "decrypted" };

/**
 * Decrypts a disk where it is. Its key's record says first that a conversion goes on: no start of the guest opens the
 * volume until all of it is plaintext, and the guest's configuration says so.
 */
export async function decryptInPlace(work: Work, ports: InPlacePorts): Promise<Plan> {
  const { key, guest, disk } = work;
  const uuid = keyUuidOf(key.record);
  const hint = ports.journal.read(uuid);
  const isBegun = key.record.conversion !== undefined || hint !== undefined;
  let isRecorded = false;
  try {
    const state = await withVolume(work, ports, (volume) => look(volume, work, ports, hint));
    if (state.kind === "unfinished") {
      const { header } = state;
      const entry = { ...state.entry, headerDigest: digestOf(header) };
      await recordBegin(work, ports, isBegun ? "goes on" : "begins");
      isRecorded = true;
      await ports.vault.keep({ uuid, volume: work.volume.path, header, reason: "changed" });
      ports.journal.write(entry, header);
      const record = await key.keystore.change(uuid, (now) => begun(now, work, entry.startedAt));
      const now = { ...work, key: { ...key, record } };
      await requireStored(now);
      await move(now, ports, { ...state, entry });
    }
    const annotation: DiskAnnotation = { format: "luks", secretUuid: uuid };
    await ports.host.unannotate(await ports.host.readGuest(guest.id), new Map([[disk.dev, annotation]]));
    await recordEnd(work, ports);
    // the record is what tells a further call that something is left to do, whatever became of the journal
    await key.keystore.change(uuid, converted);
    ports.journal.remove(uuid);
  } catch (thrown) {
    if (isRecorded) await recordFailure(ports.audit, [useOf(work)], thrown);
    const hasBegun = isBegun || ports.journal.read(uuid) !== undefined;
    throw hasBegun ? unfinished(work, thrown) : thrown;
  }
  work.task.watcher.done(
    `key ${uuid} stays in keystore ${key.keystore.name}: backups and header copies of ${work.volume.path} open with it; ` +
      `when they are gone: luksmith keys delete ${uuid}`,
  );
  return planOf();
}

/** Whose it is and where it lies, too: by that it is found when the guest's configuration does not name it any more. */
function begun(record: KeyRecord, { guest, disk, volume }: Work, startedAt: string): KeyRecord {
  if (record.rotation !== undefined)
    throw new LuksmithError("KEY_CONFLICT", {
      what: `cannot decrypt disk ${disk.dev} of guest ${guest.name} in place`,
      why: "a rotation of its key has begun meanwhile",
      hint: "run it again when that has ended; nothing was changed",
    });
  return {
    ...record,
    guest: { id: guest.id, name: guest.name },
    ...{ disk: disk.dev, volume: volume.path },
    conversion: record.conversion ?? { to: "plain", startedAt },
  };
}

async function look(
  volume: LockedVolume,
  work: Work,
  ports: InPlacePorts,
  hint: JournalEntry | undefined,
): Promise<State> {
  const { record } = work.key;
  const uuid = keyUuidOf(record);
  const isBegun = record.conversion !== undefined || hint !== undefined;
  const bytes = await volume.read(0, PAYLOAD_OFFSET);
  const start = readLuksHeader(bytes, ["luks"]);
  const isOurs = start.kind === "luks" && start.header.uuid === uuid;
  // the first signpost may be there already, and the header still
  const found = isBegun ? await progressOn(volume, work, hint) : undefined;
  if (found !== undefined) {
    using signposts = found.signposts;
    const header = ports.journal.header(uuid) ?? (await makeHeader(work, ports, signposts.volumeKey));
    const entry = hint ?? (await newEntry(work, ports, { ...found.progress, size: volume.size }));
    return { kind: "unfinished", found: found.progress, entry, header };
  }
  if (!isOurs && isBegun) {
    // the record knows it, and not the volume: a guest that does not name the key any more may have written to it since
    if (isAllMoved(work)) return { kind: "decrypted" };
    if (record.conversion?.payload !== undefined) throw lost(work, hint);
  }
  if (start.kind !== "luks" || start.header.uuid !== uuid) {
    const what = `${cannot(work)}: ${work.volume.path} does not have the LUKS header of key ${uuid}`;
    if (start.kind === "luks")
      throw new LuksmithError("LUKS_UUID_MISMATCH", {
        what,
        why: `its header is of key ${start.header.uuid}`,
        hint: otherKeyHint(work.guest, work.disk.dev),
      });
    throw new LuksmithError("VOLUME_NOT_FORMATTED", {
      what,
      hint: "restore the header from a copy: luksmith header restore",
    });
  }
  if (start.header.payloadOffset !== PAYLOAD_OFFSET)
    throw unsupported(
      work,
      `its payload begins at byte ${start.header.payloadOffset}, and not at ${PAYLOAD_OFFSET}`,
    );
  const payload = Number(payloadSize(BigInt(volume.size), start.header));
  const progress = { to: work.to, payload, mark: 0, size: volume.size };
  // what an earlier call has noted may be of a volume that was smaller
  const entry = await newEntry(work, ports, progress);
  return { kind: "unfinished", found: undefined, entry, header: bytes };
}

/** Whether a volume without a signpost is done; where the journal alone is left, all that comes after it is done too. */
function isAllMoved({ key: { record }, disk }: Work): boolean {
  if (record.conversion !== undefined) return record.conversion.movedAt !== undefined;
  return disk.encryption_secret_uuid === undefined;
}

async function newEntry(
  { guest, disk, volume, key }: Work,
  { clock, runner }: InPlacePorts,
  progress: Pick<JournalEntry, "to" | "payload" | "mark" | "size">,
): Promise<Unheaded> {
  const identity = await identityOf(volume, runner);
  return {
    ...{ version: 1, ...progress, uuid: keyUuidOf(key.record), guest: { id: guest.id, name: guest.name } },
    ...{ disk: disk.dev, volume: volume.path },
    startedAt: key.record.conversion?.startedAt ?? clock.now().toISOString(),
    ...(identity !== undefined && { identity }),
  };
}

/** As long as the volume still says so itself: cut short afterwards, nothing on it does. */
async function noteMoved(
  { key, to }: Work,
  { clock }: InPlacePorts,
  { uuid, startedAt }: JournalEntry,
): Promise<void> {
  const movedAt = clock.now().toISOString();
  await key.keystore.change(uuid, (record) => ({
    ...record,
    conversion: { to, startedAt, ...record.conversion, movedAt: record.conversion?.movedAt ?? movedAt },
  }));
}

type Moving = Extract<State, { kind: "unfinished" }> & { readonly entry: JournalEntry };

async function move(
  work: Work,
  ports: InPlacePorts,
  { found: progress, entry, header }: Moving,
): Promise<void> {
  const { path, kind } = work.volume;
  await withVolume(work, ports, async (volume) => {
    const found = progress === undefined ? undefined : await progressOn(volume, work, progress);
    // a sector that the file has only begun is read as a whole one
    if (kind === "file" && volume.size < entry.payload + PAYLOAD_OFFSET)
      await volume.resize(entry.payload + PAYLOAD_OFFSET);
    const moved = await moveAll(volume, work, { ports, found, entry, header });
    await volume.assertHeld();
    await noteMoved(work, ports, entry);
    if (kind === "file") await volume.resize(entry.payload);
    else await zeroTail(volume, moved);
  });
  const rest = kind === "block" ? "; its last 2 MiB, of zeros, are the guest's now" : "";
  work.task.watcher.done(`decrypted ${path} in place${rest}`);
}
