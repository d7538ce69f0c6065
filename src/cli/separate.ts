import { Command } from "commander";
import type { Container } from "../di.js";
import type { DiskMapping } from "../disk-info/disk-info.js";
import { type EncryptedDisk, requireEncryptedDisks } from "../disk-info/encrypted-disks.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { ConfiguredGuest } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { guestWord } from "../plan/commands.js";
import { planOf } from "../plan/step.js";
import { findVolumeUser } from "../plan/volume-users.js";
import { endedRecovery } from "../recovery/ended-recovery.js";
import { liveKey } from "../recovery/live-key.js";
import { ownedBy } from "../separate/owner.js";
import { kinshipOf } from "../separate/same-header.js";
import { separateVolume } from "../separate/separate-volume.js";
import { volumeName } from "../storage/volume.js";
import {
  AUDIT,
  CLOCK,
  COMMAND_RUNNER,
  HEADER_VAULT,
  HOST,
  KEY_LOCKS,
  KEYRING,
  KEYSLOTS,
  STORAGE,
} from "../tokens.js";
import { changeGuest } from "./change.js";
import { open } from "./open.js";
import { print } from "./output.js";

interface Options {
  readonly dryRun?: true;
}

type Manner = "apply" | "dry-run";

export function separateCommand(): Command {
  return new Command("separate")
    .summary("give a copied disk a key of its own")
    .description(
      "A disk that was copied has the LUKS header of the original, and opens with its key. Gives the copy a UUID, a " +
        "passphrase and a keyslot of its own and destroys those that it was copied with. The original is not touched.",
    )
    .argument("<guest>", "the copy's guest: name or UUID; it must be shut off")
    .argument("[disk]", "its device name: vda; all encrypted disks without it")
    .option("--dry-run", "say what would be done, change nothing")
    .action(separate);
}

async function separate(name: string, dev: string | undefined, { dryRun }: Options): Promise<void> {
  const container = open();
  await changeGuest(container, {
    command: "separate",
    guest: name,
    manner: dryRun ? "dry-run" : "apply",
    work: async (id) => {
      const guest = await container.resolve(HOST).readGuest(id);
      requireShutOff(guest);
      for (const disk of chosen(guest, dev)) {
        const manner = dryRun ? "dry-run" : "apply";
        print(await withKeysOf(disk, container, manner, () => separateOne(guest, disk, container, manner)));
      }
      return planOf();
    },
  });
}

function chosen(guest: ConfiguredGuest, dev: string | undefined): EncryptedDisk[] {
  return requireEncryptedDisks(guest, { ...(dev !== undefined && { wanted: [dev] }), withHeader: true });
}

/** Under the locks of the original's key and, where an earlier call has given it one, of its own. */
async function withKeysOf<T>(
  disk: EncryptedDisk,
  container: Container,
  manner: Manner,
  work: () => Promise<T>,
): Promise<T> {
  if (manner === "dry-run") return await work();
  const locks = container.resolve(KEY_LOCKS);
  const uuids = new Set([disk.encryption_secret_uuid, await headerUuid(disk, container)]);
  // always in one order, whoever needs two
  const held = [...uuids].sort().reduce((inner, uuid) => () => locks.hold(uuid, inner), work);
  return await held();
}

async function separateOne(
  guest: ConfiguredGuest,
  disk: DiskMapping,
  container: Container,
  manner: Manner,
): Promise<string> {
  const [keyring, storage] = [container.resolve(KEYRING), container.resolve(STORAGE)];
  const name = `${guest.name} ${disk.dev}`;
  const uuid = await headerUuid(disk, container);
  const { key, keystore } = await liveKey(keyring, uuid);
  key.passphrase.dispose();
  const kinship = await kinshipOf(disk, key.record, storage);
  const isUnfinished = kinship.kind === "own" && disk.encryption_secret_uuid !== uuid;
  if (kinship.kind === "own" && !isUnfinished) return `${name}: its key ${uuid} was made for it`;
  if (kinship.kind === "unseen") throw unseen(guest, disk, uuid, kinship);
  if (kinship.kind === "moved") {
    if (manner === "dry-run") return `${name}: would be recorded as moved from ${kinship.from}`;
    await (await keyring.get(keystore)).change(uuid, ownedBy(guest, disk));
    return `${name}: no copy, but moved from ${kinship.from}; the record of its key ${uuid} says so now`;
  }
  await requireAlone(guest, disk, container);
  if (manner === "dry-run") return `${name}: would get a key of its own instead of ${uuid}`;
  const separated = await separateVolume(
    { guest, disk },
    {
      ...{ host: container.resolve(HOST), keyring, storage, clock: container.resolve(CLOCK) },
      keyslots: container.resolve(KEYSLOTS),
      ...{ vault: container.resolve(HEADER_VAULT), audit: container.resolve(AUDIT) },
      runner: container.resolve(COMMAND_RUNNER),
    },
  );
  const said = `${name}: has key ${separated.uuid} of its own; the volume key is still that of the original: luksmith rotate --deep changes it`;
  const keys = { former: separated.former, current: separated.uuid };
  const ended = await endedRecovery({ guest, disk: disk.dev, ...keys }, keyring);
  return ended === undefined ? said : `${said}\n${ended}`;
}

async function headerUuid(disk: DiskMapping, container: Container): Promise<KeyUuid> {
  const backend = await container.resolve(STORAGE).backendFor(disk.volume);
  const probe = await backend.probe(disk.volume, "header");
  if (probe.kind === "luks") return probe.header.uuid;
  throw new LuksmithError("VOLUME_NOT_FORMATTED", {
    what: `disk ${disk.dev} has no usable LUKS header (${volumeName(disk.volume)})`,
    why: probe.kind === "bad-luks" || probe.kind === "unreadable" ? probe.reason : `it is ${probe.kind}`,
  });
}

/** @throws GUEST_RUNNING */
function requireShutOff(guest: ConfiguredGuest): void {
  if (!guest.running && !guest.saved) return;
  throw new LuksmithError("GUEST_RUNNING", {
    what: `cannot separate the disks of guest ${guest.name}`,
    why: guest.running ? "it is running" : "its memory was saved, and would be resumed with the old key",
    hint: `shut it down first: virsh shutdown ${guestWord(guest)}`,
  });
}

/** Another guest that runs with this very volume would lose it. @throws VOLUME_BUSY */
async function requireAlone(guest: ConfiguredGuest, disk: DiskMapping, container: Container): Promise<void> {
  const user = await findVolumeUser(container.resolve(HOST), guest, { ...disk, uuid: undefined });
  if (user === undefined) return;
  throw new LuksmithError("VOLUME_BUSY", {
    what: `cannot separate disk ${disk.dev} of guest ${guest.name}`,
    why: `disk ${user.disk} of guest ${user.guest} has the same volume`,
  });
}

function unseen(
  guest: ConfiguredGuest,
  disk: DiskMapping,
  uuid: string,
  { from, why }: { readonly from: string; readonly why: string },
): LuksmithError {
  return new LuksmithError("KEY_IN_USE", {
    what: `cannot tell whether disk ${disk.dev} of guest ${guest.name} is a copy`,
    why: `its key ${uuid} was made for ${from}, which cannot be read: ${why}`,
    hint: "run it where that volume can be seen",
  });
}
