import { recorded, recordFailure, useOfRecord } from "../../audit/recorded.js";
import { LUKS_HEADER_BLOCK, PAYLOAD_OFFSET, readLuksHeader } from "../../encryption/luks-header.js";
import { asLuksmithError, LuksmithError } from "../../error/luksmith-error.js";
import type { DiskAnnotation } from "../../host/host-adapter.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import { type Plan, planOf, type Step } from "../../plan/step.js";
import { roundUp, wholeSectors } from "../../storage/sectors.js";
import { digestOf } from "../../headers/backup-file.js";
import { identityOf } from "../volume-identity.js";
import type { Secret } from "../../secret/secret.js";
import type { Found } from "./find-progress.js";
import { writeHeader } from "./finish-move.js";
import type { JournalEntry } from "./journal.js";
import { forgetKey } from "./new-key.js";
import { type LockedVolume, withLockedVolume } from "./open-volume.js";
import { recordBegin, recordEnd, useOf } from "./record-conversion.js";
import { cannot } from "./refusals.js";
import { requireRoom } from "./room.js";
import { readVolumeKey } from "./volume-key.js";
import {
  converted,
  hasMoved,
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

/** What the volume is, as its own bytes tell. */
type State =
  | { readonly kind: "plain"; readonly size: number }
  | { readonly kind: "moving"; readonly found: Found }
  | { readonly kind: "encrypted" };

/**
 * Encrypts a disk where it is. The key is stored already, and known to be in a conversion: no start of the guest opens
 * the volume from here on.
 * @param since `new` where no earlier call has stored it: what was done is taken back if nothing is moved
 */
export async function encryptInPlace(
  work: Work,
  ports: InPlacePorts,
  since: "new" | "going on",
): Promise<Plan> {
  const undo: Undo[] = [];
  let begun = since === "going on";
  let isRecorded = false;
  if (!begun) undo.push(() => forgetKey(work, ports));
  try {
    await requireStored(work);
    const hint = ports.journal.read(keyUuidOf(work.key.record));
    const state = await withVolume(work, ports, (volume) => look(volume, work, { since, hint }));
    if (state.kind !== "encrypted") {
      using signposts = state.kind === "moving" ? state.found.signposts : undefined;
      const noted = await noteFor(state, work, ports, { hint, volumeKey: signposts?.volumeKey });
      if (state.kind === "plain" && since === "new")
        await requireRoom(work, { ...work, payload: noted.entry.payload }, ports.runner);
      await recordBegin(work, ports, since === "new" ? "begins" : "goes on");
      isRecorded = true;
      await guard(work, ports, noted, undo);
      if (state.kind === "plain") await enlarge(work, noted, ports, undo);
      begun = true;
      await move(work, ports, { ...noted, state });
    }
    begun = true;
    await conclude(work, ports);
  } catch (thrown) {
    if (isRecorded) await recordFailure(ports.audit, [useOf(work)], thrown);
    if (begun) throw unfinished(work, thrown);
    await takeBack(undo);
    throw thrown;
  }
  return planOf(...stages(work));
}

type Undo = () => Promise<void> | void;
type Unfinished = Exclude<State, { kind: "encrypted" }>;
type Unheaded = Omit<JournalEntry, "headerDigest">;

async function look(
  volume: LockedVolume,
  work: Work,
  { since, hint }: { readonly since: "new" | "going on"; readonly hint: JournalEntry | undefined },
): Promise<State> {
  const uuid = keyUuidOf(work.key.record);
  const start = readLuksHeader(await volume.read(0, LUKS_HEADER_BLOCK), ["luks"]);
  // no volume has a signpost of a key that is new, and it would take long to look for one
  const found = since === "new" ? undefined : await progressOn(volume, work, hint);
  if (found !== undefined) return { kind: "moving", found };
  if (start.kind === "luks" && start.header.uuid === uuid) return { kind: "encrypted" };
  if (hint !== undefined && hasMoved(hint)) throw lost(work, hint);
  if (work.key.record.conversion?.payload !== undefined) throw lost(work);
  if (start.kind === "none") return { kind: "plain", size: volume.size };
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `${cannot(work)}: ${work.volume.path} has a LUKS header already`,
    why: start.kind === "luks" ? `of key ${start.header.uuid}` : start.reason,
    hint: "whoever made it knows how it is decrypted: that comes first",
  });
}

/** What the host is to know of it. */
interface Noted {
  readonly entry: JournalEntry;
  readonly header: Buffer;
}

async function noteFor(
  state: Unfinished,
  work: Work,
  ports: InPlacePorts,
  { hint, volumeKey }: { readonly hint: JournalEntry | undefined; readonly volumeKey: Secret | undefined },
): Promise<Noted> {
  const header = await headerFor(volumeKey, work, ports);
  const noted = (await fitting(hint, state, work)) ?? (await newEntry(state, work, ports));
  return { entry: { ...noted, headerDigest: digestOf(header) }, header };
}

/** The one that the payload fits, whoever still has it. */
async function headerFor(volumeKey: Secret | undefined, work: Work, ports: InPlacePorts): Promise<Buffer> {
  const { record, passphrase } = work.key;
  const uuid = keyUuidOf(record);
  const kept = ports.journal.header(uuid);
  // nothing is encrypted with the volume key of an earlier one: the record would say that bytes had begun to move
  if (kept === undefined && volumeKey === undefined) await ports.vault.destroy(uuid);
  if (kept === undefined) return await makeHeader(work, ports, volumeKey);
  if (volumeKey === undefined) return kept;
  using fromHeader = await readVolumeKey(ports.runner, kept, passphrase, work.spec.keySize);
  return fromHeader.equals(volumeKey) ? kept : await makeHeader(work, ports, volumeKey);
}

/** A note of the volume as it was, or as it is since an earlier call has enlarged it; another size is somebody else's. */
async function fitting(
  hint: JournalEntry | undefined,
  state: Unfinished,
  { volume, backend }: Work,
): Promise<Unheaded | undefined> {
  if (hint === undefined || state.kind !== "plain") return hint;
  const unit = (await backend.extent?.(volume)) ?? 512n;
  const enlarged = Number(roundUp(BigInt(hint.payload + PAYLOAD_OFFSET), unit));
  return state.size === hint.size || state.size === enlarged ? hint : undefined;
}

async function newEntry(state: Unfinished, work: Work, { runner }: InPlacePorts): Promise<Unheaded> {
  const { guest, disk, volume, key } = work;
  const uuid = keyUuidOf(key.record);
  const size = state.kind === "plain" ? state.size : 0;
  const payload = Number(wholeSectors(BigInt(size)));
  const progress = state.kind === "moving" ? state.found.progress : { to: work.to, payload, mark: payload };
  if (progress.payload === 0)
    throw new LuksmithError("VOLUME_TOO_SMALL", { what: `${cannot(work)}: ${volume.path} has no bytes` });
  return {
    ...{ version: 1, ...progress, uuid, guest: { id: guest.id, name: guest.name }, disk: disk.dev },
    ...{ volume: volume.path, size, startedAt: key.record.conversion?.startedAt ?? "" },
    ...identityField(await identityOf(volume, runner)),
  };
}

function identityField(identity: string | undefined): Pick<JournalEntry, "identity"> {
  return identity === undefined ? {} : { identity };
}

/** Who could open the volume, and how it is brought back, is on the storage before a byte of it is changed. */
async function guard(
  work: Work,
  { vault, journal, host }: InPlacePorts,
  { entry, header }: Noted,
  undo: Undo[],
): Promise<void> {
  const { uuid } = entry;
  undo.push(() => vault.destroy(uuid));
  await vault.keep({ uuid, volume: work.volume.path, header, reason: "made" });
  undo.push(() => journal.remove(uuid));
  journal.write(entry, header);
  const guest = await host.readGuest(work.guest.id);
  if (guest.disks.mapping[work.disk.dev]?.encryption_secret_uuid === uuid) return;
  const annotations = new Map<string, DiskAnnotation>([
    [work.disk.dev, { format: "luks", secretUuid: uuid }],
  ]);
  undo.push(() => host.unannotate(guest, annotations));
  await host.annotate(guest, annotations);
}

async function enlarge(
  work: Work,
  { entry: { size, payload }, header }: Noted,
  ports: InPlacePorts,
  undo: Undo[],
): Promise<void> {
  const { volume, backend, key } = work;
  const answer = readLuksHeader(header, ["luks"]);
  if (answer.kind !== "luks") throw new Error("a header that was made cannot be read");
  if (volume.kind === "file")
    undo.push(() =>
      withLockedVolume(volume, ports, async (file) => {
        if (file.size !== size) await file.resize(size);
      }),
    );
  await backend.grow({
    ...{ volume, header: answer.header, guestSize: BigInt(payload) },
    ...{ passphrase: key.passphrase, guest: "stopped" },
  });
}

async function move(
  work: Work,
  ports: InPlacePorts,
  { state, entry, header }: Noted & { readonly state: State },
): Promise<void> {
  const { backend, key, volume: name } = work;
  await withVolume(work, ports, async (volume) => {
    const found = state.kind === "moving" ? await progressOn(volume, work, state.found.progress) : undefined;
    const progress = await moveAll(volume, work, { ports, found, entry, header });
    await volume.assertHeld();
    await recorded(ports.audit, [useOfRecord("format", key.record)], async () => {
      await writeHeader(volume, progress, header, () => backend.testPassphrase(name, key.passphrase));
      return undefined;
    });
  });
  work.task.watcher.done(`encrypted ${name.path} in place under key ${entry.uuid}`);
}

async function conclude(work: Work, ports: InPlacePorts): Promise<void> {
  const { key, backend, volume } = work;
  await backend.testPassphrase(volume, key.passphrase);
  // before the last that tells a further call that something is left to do
  await recordEnd(work, ports);
  await key.keystore.change(keyUuidOf(key.record), converted);
  ports.journal.remove(keyUuidOf(key.record));
}

/** In reverse order; where one fails, what is left is found by the next call, which goes on from there. */
async function takeBack(undo: readonly Undo[]): Promise<void> {
  for (const one of undo.toReversed()) {
    try {
      await one();
    } catch (thrown) {
      asLuksmithError(thrown);
      return;
    }
  }
}

function stages({ key, disk }: Work): Step[][] {
  const { record, keystore } = key;
  return [
    [{ kind: "store-key", keystore: keystore.name, record }],
    [{ kind: "annotate", blocks: [{ disk: disk.dev, uuid: keyUuidOf(record) }] }],
    [{ kind: "activate-key", keystore: keystore.name, record }],
  ];
}
