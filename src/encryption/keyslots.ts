import { randomFillSync } from "node:crypto";
import type { CommandRunner } from "../exec/command-runner.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import { secretFile } from "../secret/secret-file.js";
import { HeaderCopy } from "./header-copy.js";
import { applied, differences } from "./keyslot-pieces.js";
import { parsedHeader, unusedAreas, usedKeyslots } from "./keyslot-use.js";
import { writeLuksUuid } from "./luks-field.js";
import type { LuksPiece } from "./luks-image.js";
import { renamedLuks2Copies } from "./luks2-header.js";
import { isZero } from "../storage/zero.js";

/** What has to be written to a volume so that its header has the keyslot, or has it no more. */
export interface KeyslotChange {
  readonly keyslot: number;
  /** In the order in which they are to be written, each one when the storage has those before it. */
  readonly pieces: readonly LuksPiece[];
}

export interface AddKeyslot {
  /** Opens a keyslot of the header. */
  readonly passphrase: Secret;
  readonly added: Secret;
  /** Without it, a machine's is the lowest that is free, and a person's the highest: it is tried last. */
  readonly keyslot?: number;
  /**
   * `machine`: 1000 iterations, for 512 random bits. `person`: as many as cryptsetup makes of two seconds, for what is
   * printed and typed.
   */
  readonly strength: "machine" | "person";
}

export interface RemoveKeyslot {
  readonly keyslot: number;
  /** Opens another one. */
  readonly passphrase: Secret;
}

/** cryptsetup's exit codes: nothing that the passphrase opens, and what is said in words. */
const REJECTED = 2;
const FAILED = 1;
const SECTOR = 512;
/** Milliseconds: strong keyslots take seconds each, and there may be many. */
const TIMEOUT = 300_000;

/**
 * Changes the keyslots of LUKS headers, both versions. A header is bytes in memory, from the container's start to its
 * payload; cryptsetup changes a copy, and what comes of it is proven before it is given out. Whoever writes the pieces
 * can be interrupted at any sector: the passphrase that opened the volume before (add), or that is left (remove), opens it.
 */
export class Keyslots {
  constructor(private readonly runner: CommandRunner) {}

  /** Numbers of the keyslots that are in use, of whatever key. @throws LUKS_HEADER_INVALID */
  used(header: Buffer): readonly number[] {
    return usedKeyslots(header);
  }

  /** Another keyslot. @throws KEYSLOT_NOT_FREE, PASSPHRASE_REJECTED, LUKS_HEADER_INVALID */
  async add(header: Buffer, { passphrase, added, strength, ...wanted }: AddKeyslot): Promise<KeyslotChange> {
    const { version } = parsedHeader(header);
    const used = usedKeyslots(header);
    const keyslot = wanted.keyslot ?? freeKeyslot(used, version, strength);
    if (keyslot === undefined) throw noneFree(used.length);
    if (keyslot >= MOST_KEYSLOTS[version] || used.includes(keyslot)) throw notFree(keyslot);
    using copy = new HeaderCopy(header);
    using old = secretFile(passphrase);
    using fresh = secretFile(added);
    const { exitCode, stderr } = await this.runner.run({
      tool: "cryptsetup",
      args: [
        ...["luksAddKey", "-q", "--key-slot", String(keyslot), ...(strength === "machine" ? CHEAP : [])],
        ...["--key-file", "/proc/self/fd/4", "--", "/proc/self/fd/3", "/proc/self/fd/5"],
      ],
      fds: [copy.fd, old.fd, fresh.fd],
      timeout: TIMEOUT,
      answers: [REJECTED, FAILED],
    });
    if (exitCode === REJECTED) throw rejected("a keyslot cannot be added");
    if (exitCode === FAILED) throw addingFailed(stderr);
    const changed = copy.bytes();
    if ((await this.find(changed, added, keyslot)) !== keyslot) throw unusable();
    const { block, material } = differences(header, changed);
    // the new entry counts from the moment that its state is written, which comes last
    return proven(header, changed, { keyslot, pieces: [...material, ...block.toReversed()] });
  }

  /**
   * Destroys a keyslot: its state, and its key material. Of one that is not in use, the material that a kill may have
   * left.
   * @throws PASSPHRASE_REJECTED (it opens no other one: nothing may be written), LUKS_HEADER_INVALID
   */
  async remove(header: Buffer, { keyslot, passphrase }: RemoveKeyslot): Promise<KeyslotChange> {
    const others = usedKeyslots(header).filter((used) => used !== keyslot);
    if (others.length === 0) throw rejected("the only keyslot cannot be destroyed");
    using copy = new HeaderCopy(header);
    if (usedKeyslots(header).includes(keyslot)) {
      await this.runner.run({
        tool: "cryptsetup",
        args: ["luksKillSlot", "-q", "--", "/proc/self/fd/3", String(keyslot)],
        fds: [copy.fd],
        timeout: TIMEOUT,
      });
    }
    const changed = copy.bytes();
    wipeUnused(changed);
    if ((await this.find(changed, passphrase)) === undefined)
      throw rejected(`keyslot ${keyslot} is not destroyed, since the passphrase opens no other one`);
    const { block, material } = differences(header, changed);
    return proven(header, changed, { keyslot, pieces: [...block, ...material] });
  }

  /** The keyslot that opens with it (only: `among`); undefined if none. @throws LUKS_HEADER_INVALID */
  async find(header: Buffer, passphrase: Secret, among?: number): Promise<number | undefined> {
    parsedHeader(header);
    if (among !== undefined && !usedKeyslots(header).includes(among)) return undefined;
    using copy = new HeaderCopy(header);
    using key = secretFile(passphrase);
    const { exitCode, stdout } = await this.runner.run({
      tool: "cryptsetup",
      args: [
        ...["open", "--test-passphrase", "--verbose", "--type", "luks"],
        ...(among === undefined ? [] : ["--key-slot", String(among)]),
        ...["--key-file", "/proc/self/fd/4", "--", "/proc/self/fd/3"],
      ],
      fds: [copy.fd, key.fd],
      timeout: TIMEOUT,
      answers: [REJECTED],
    });
    if (exitCode === REJECTED) return undefined;
    const keyslot = /^Key slot (\d+) unlocked/m.exec(stdout)?.[1];
    if (keyslot === undefined) throw unusable();
    return Number(keyslot);
  }

  /** The same header under another UUID. @throws LUKS_HEADER_INVALID */
  renamed(header: Buffer, uuid: KeyUuid): readonly LuksPiece[] {
    const parsed = parsedHeader(header);
    if (parsed.uuid === uuid) return [];
    if (parsed.version === 2) {
      const [first, second] = renamedLuks2Copies(header, uuid);
      return [
        { offset: parsed.copySize, bytes: second },
        { offset: 0, bytes: first },
      ];
    }
    const sector = Buffer.from(header.subarray(0, SECTOR));
    writeLuksUuid(sector, uuid);
    return [{ offset: 0, bytes: sector }];
  }
}

/** What 512 random bits do without: the floor of LUKS1, and no memory. */
const CHEAP = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
const MOST_KEYSLOTS = { 1: 8, 2: 32 };
/** As many have room in the headers that we make. */
const USUAL_KEYSLOTS = 8;

function freeKeyslot(
  used: readonly number[],
  version: 1 | 2,
  strength: AddKeyslot["strength"],
): number | undefined {
  const numbers = Array.from({ length: MOST_KEYSLOTS[version] }, (_, number) => number);
  const [usual, more] = [numbers.slice(0, USUAL_KEYSLOTS), numbers.slice(USUAL_KEYSLOTS)];
  const preferred = strength === "machine" ? usual : usual.toReversed();
  return [...preferred, ...more].find((number) => !used.includes(number));
}

/** Random bytes over whatever a killed removal, or none of ours, left where no keyslot in use is. */
function wipeUnused(header: Buffer): void {
  for (const { offset, length } of unusedAreas(header)) {
    const area = header.subarray(offset, offset + length);
    if (!isZero(area)) randomFillSync(area);
  }
}

/** A mistake in the order of pieces, or a change of more than they hold, is found here and not on a disk. */
function proven(header: Buffer, changed: Buffer, change: KeyslotChange): KeyslotChange {
  if (applied(header, change.pieces).equals(changed)) return change;
  throw unusable();
}

function notFree(keyslot: number): LuksmithError {
  return new LuksmithError("KEYSLOT_NOT_FREE", {
    what: `keyslot ${keyslot} cannot be used`,
    why: "it is in use, or the header has none of this number",
    hint: "choose another one: luksmith header show",
  });
}

function noneFree(count: number): LuksmithError {
  return new LuksmithError("KEYSLOT_NOT_FREE", {
    what: "a keyslot cannot be added",
    why: `all ${count} keyslots that the header has room for are in use`,
    hint: "destroy one that nobody needs: luksmith header show lists them",
  });
}

function rejected(what: string): LuksmithError {
  return new LuksmithError("PASSPHRASE_REJECTED", {
    what,
    why: "the passphrase that must open the volume opens no keyslot of its LUKS header",
    hint: "compare the header with its copies: luksmith header verify",
  });
}

function addingFailed(stderr: string): LuksmithError {
  const why = stderr.trimEnd().split("\n").at(-1) ?? "";
  if (/No space for new keyslot|All key slots full/.test(stderr)) return noneFree(MOST_KEYSLOTS[1]);
  return new LuksmithError("TOOL_FAILED", { what: "cryptsetup could not add a keyslot", why });
}

function unusable(): LuksmithError {
  return new LuksmithError("TOOL_FAILED", {
    what: "cryptsetup changed a LUKS header otherwise than it was asked to",
    why: "the result does not open, or cannot be written safely",
  });
}
