import type { LuksSpec } from "../../encryption/luks-spec.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import { keyUuidOf } from "../../keystore/key-record.js";
import type { KeyUuid } from "../../keystore/key-uuid.js";
import { whileActive } from "../../storage/lvm/lvm-in-use.js";
import { wholeSectors } from "../../storage/sectors.js";
import type { PathVolume } from "../../storage/volume.js";
import { VolumeFile } from "../../storage/volume-file.js";
import type { ConversionGoal, ConversionTask } from "../conversion.js";
import { requireShutOff } from "../guest-meanwhile.js";
import { earlierKey } from "./earlier-key.js";
import { requireOneHost } from "./one-host.js";
import { requireOwnRecord } from "./own-record.js";
import { cannot, requireCipher, requireSuitable, type Subject, unsupported } from "./refusals.js";
import { type Room, requireRoom } from "./room.js";
import type { InPlacePorts, Work, WorkKey } from "./work.js";

/** A disk that nothing speaks against converting in place. */
export interface Candidate extends Omit<Work, "spec" | "key"> {
  readonly spec: LuksSpec;
  /** Undefined for a disk that gets a new one. */
  readonly key: WorkKey | undefined;
  /** Whether an earlier call has begun, and not ended. */
  readonly isBegun: boolean;
  /** What it takes to encrypt one that is not begun. */
  readonly room: Room | undefined;
}

/**
 * Looks at all that can speak against it, and changes nothing; then does `work`, while its volume has a device.
 * @throws what speaks against it
 */
export async function withCandidate<T>(
  task: ConversionTask,
  ports: InPlacePorts,
  work: (candidate: Candidate) => Promise<T>,
): Promise<T> {
  const { guest, disk, goal } = task;
  const subject: Subject = { guest, disk, to: goal.to };
  requireShutOff(guest);
  if (task.target !== undefined)
    throw new LuksmithError("USAGE", {
      what: `${cannot(subject)}: a conversion in place has no other volume`,
    });
  const found = await requireSuitable(subject, ports);
  const place = { ...subject, task, ...found };
  return await whileActive([found.volume], ports, async () => {
    const candidate =
      goal.to === "encrypted" ? await toEncrypt(place, goal, ports) : await toDecrypt(place, ports);
    try {
      if (!candidate.isBegun) await requireOneHost(subject, found.volume, ports.runner);
      return await work(candidate);
    } finally {
      candidate.key?.passphrase.dispose();
    }
  });
}

export function candidateUuid({ key }: Candidate): KeyUuid | undefined {
  return key && keyUuidOf(key.record);
}

type Place = Omit<Work, "spec" | "key">;

async function toEncrypt(
  place: Place,
  { request, engine }: Extract<ConversionGoal, { to: "encrypted" }>,
  ports: InPlacePorts,
): Promise<Candidate> {
  const key = await earlierKey(place, ports);
  return await orDispose(key, async () => {
    const spec = key?.record.encryption ?? request;
    requireCipher(place, spec);
    if (key !== undefined) {
      await requireOwnRecord(place, key, ports.storage);
      return { ...place, spec, key, isBegun: true, room: undefined };
    }
    if (place.disk.encrypted) throw unsupported(place, "it is encrypted already");
    if (engine === "dm-crypt")
      throw unsupported(
        place,
        "dm-crypt is to decrypt it, and only volumes that QEMU opens are converted in place",
      );
    const payload = await sizeOf(place.volume);
    const room = await requireRoom(place, { ...place, payload }, ports.runner);
    return { ...place, spec, key, isBegun: false, room };
  });
}

async function toDecrypt(place: Place, ports: InPlacePorts): Promise<Candidate> {
  if (place.disk.encryption_options?.["engine"] === "librbd") throw unsupported(place, "librbd decrypts it");
  const key = await keyOf(place, ports);
  return await orDispose(key, async () => {
    const { record } = key;
    const { encryption: spec } = record;
    requireCipher(place, spec);
    await requireOwnRecord(place, key, ports.storage);
    const isBegun = record.conversion !== undefined || ports.journal.read(keyUuidOf(record))?.to === "plain";
    return { ...place, spec, key, isBegun, room: undefined };
  });
}

async function orDispose<T>(key: WorkKey | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    key?.passphrase.dispose();
    throw thrown;
  }
}

/** That of the configuration, or of a call that was cut short when the configuration did not name it any more. */
async function keyOf(place: Place, ports: InPlacePorts): Promise<WorkKey> {
  const { encryption_secret_uuid: uuid } = place.disk;
  if (uuid === undefined) {
    const earlier = await earlierKey(place, ports);
    if (earlier !== undefined) return earlier;
    throw new LuksmithError("DISK_NOT_ENCRYPTED", { what: `${cannot(place)}: it is not encrypted` });
  }
  const located = await ports.keyring.locate(uuid);
  if (located.kind === "unavailable") throw located.error.within(cannot(place));
  if (located.kind === "unknown")
    throw new LuksmithError("KEY_NOT_FOUND", {
      what: `${cannot(place)}: it needs key ${uuid}`,
      why: "no keystore has it",
      hint: "restore the key record from a backup of the keystore; nothing was changed",
    });
  const { key, keystore, cached } = located;
  if (cached === undefined) return { ...key, keystore: await ports.keyring.get(keystore.name) };
  // a copy's record may be old
  key.passphrase.dispose();
  throw cached.error.within(cannot(place));
}

async function sizeOf({ kind, path }: PathVolume): Promise<number> {
  await using file = await VolumeFile.open(path, "read", kind === "file" ? "regular file" : "block device");
  return Number(wholeSectors(BigInt(file.size)));
}
