import { readFileSync } from "node:fs";
import type { Container } from "../di.js";
import type { Keyslots } from "../encryption/keyslots.js";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { KeyRecord } from "../generated/key-record.js";
import { readIdentities } from "../keystore/transfer/identities.js";
import { EscrowFiles } from "../recovery/escrow-files.js";
import { giveKey } from "../recovery/give-key.js";
import type { OpenedVolume } from "../recovery/opened-volume.js";
import type { GivenPassphrase } from "../recovery/passphrase-source.js";
import { type DiskOfGuest, disksWith, parseKeyRecord, recordOf } from "../recovery/recovered-record.js";
import {
  holderOf,
  type RecoveryEntry,
  recoveryOf,
  withEntry,
  withRecovery,
} from "../recovery/recovery-entry.js";
import { escrowedKeyslots } from "../recovery/taken-over.js";
import { guestWord } from "../plan/commands.js";
import { volumeName } from "../storage/volume.js";
import { AUDIT, CLOCK, HEADER_VAULT, HOST, KEYRING, SETTINGS } from "../tokens.js";
import { print } from "./output.js";

/** What the command line says of whose key it will be. */
export interface Choice {
  readonly guest?: string;
  readonly disk?: string;
  readonly keyRecord?: string;
  /** Path of an identity file of age. */
  readonly identity?: string;
}

interface Storing {
  readonly keystore: string;
  readonly container: Container;
  readonly options: Choice;
  readonly keyslots: Keyslots;
}

/** Gives a keystore a key for a volume that was opened without any. */
export async function storeKey(
  opened: OpenedVolume,
  given: GivenPassphrase,
  storing: Storing,
): Promise<void> {
  const { container, keyslots, keystore: name } = storing;
  const { volume, header } = opened;
  const [audited, vault] = [container.resolve(AUDIT), container.resolve(HEADER_VAULT)];
  audited.requireWritable();
  const keystore = await container.resolve(KEYRING).get(name);
  const { outcome, record, keyslot } = await giveKey(opened, {
    ...{ passphrase: given.passphrase, record: await recordFor(opened, given, storing), keystore, keyslots },
    now: container.resolve(CLOCK).now(),
    beforeChange: async (bytes) => {
      await vault.keep({ uuid: header.uuid, volume: volumeName(volume), header: bytes, reason: "changed" });
    },
  });
  const changed = await opened.backend.readHeader(volume);
  await vault.keep({ uuid: header.uuid, volume: volumeName(volume), header: changed, reason: "changed" });
  const disk = `disk ${record.disk} of ${printable(record.guest.name)}`;
  const said = {
    present: `keystore ${name} has key ${record.uuid} already, and it opens keyslot ${keyslot}`,
    added: `keystore ${name} had key ${record.uuid}, and its passphrase is in keyslot ${keyslot} now: ${disk} opens again`,
    stored: `keystore ${name} has a new passphrase of key ${record.uuid}, in keyslot ${keyslot}: ${disk} opens again`,
  };
  print(said[outcome]);
  if (outcome === "added")
    process.stderr.write(
      `warning: the volume did not know that passphrase: if the keystore came back from an old backup, it is one that was rotated away, and luksmith rotate ${guestWord(record.guest)} makes a new one\n`,
    );
  const known = recoveryOf(record).map((entry) => `${entry.keyslot} (${holderOf(entry)})`);
  if (known.length > 0) print(`recovery keyslots in its record: ${known.join(", ")}`);
}

async function recordFor(opened: OpenedVolume, given: GivenPassphrase, storing: Storing): Promise<KeyRecord> {
  const { header, volume, keyslot } = opened;
  const { container, options } = storing;
  const { keyRecord, guest, disk } = options;
  const record =
    keyRecord === undefined
      ? given.record
      : parseKeyRecord(readGiven(keyRecord).toString(), keyRecord, header);
  if (record !== undefined) return record;
  const host = container.resolve(HOST);
  const ids = guest === undefined ? (await host.listGuests()).map(({ id }) => id) : [guest];
  const guests = await Promise.all(ids.map((id) => host.readGuest(id)));
  const found = (await disksWith(guests, volume, header)).filter(
    (each) => disk === undefined || each.disk === disk,
  );
  const [owner, another] = found;
  if (owner !== undefined && another === undefined) {
    const now = container.resolve(CLOCK).now();
    const used = given.holder && { ...given.holder, keyslot, createdAt: now.toISOString() };
    return withRecovery(recordOf(header, volume, owner, now), await escrowedHere(opened, used, storing));
  }
  throw new LuksmithError(owner === undefined ? "GUEST_NOT_FOUND" : "USAGE", {
    what: `cannot tell whose key of ${volumeName(volume)} it will be`,
    why:
      owner === undefined
        ? "no guest of this host has the volume in its configuration"
        : `several have it: ${found.map(nameOf).join(", ")}`,
    hint:
      owner === undefined
        ? "define the guest first, or bring the key's record: --key-record FILE"
        : "say --guest NAME --disk DEVICE",
  });
}

/** The recovery keyslot that was used, and those whose escrow files this host has. */
async function escrowedHere(
  { header: { uuid }, bytes: header }: OpenedVolume,
  used: RecoveryEntry | undefined,
  { container, keyslots, options }: Storing,
): Promise<RecoveryEntry[]> {
  const files = new EscrowFiles(container.resolve(SETTINGS).recovery.directory);
  const now = container.resolve(CLOCK).now();
  using identity = options.identity === undefined ? undefined : readIdentities(options.identity);
  const known = { uuid, header, files, keyslots, now, ...(identity && { identity }) };
  const escrowed = await escrowedKeyslots(known);
  return used === undefined ? escrowed : withEntry(escrowed, used);
}

function nameOf({ guest, disk }: DiskOfGuest): string {
  return `disk ${disk} of ${printable(guest.name)}`;
}

/** @throws USAGE */
export function readGiven(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError("USAGE", { what: `cannot read ${printable(path)}`, why: failure.text });
  }
}
