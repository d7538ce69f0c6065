import { setTimeout } from "node:timers/promises";
import type { ErrorCode } from "../../error/catalogue.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Secret } from "../../secret/secret.js";
import { volumeNotGrown } from "../../storage/volume-error.js";
import { VolumeFile } from "../../storage/volume-file.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import type { Closed, MappingClaim, MappingOwner, MappingRequest, Mappings } from "../encryption-provider.js";
import { CODE, complaintOf, Cryptsetup } from "./cryptsetup.js";
import { findMapping, isOpenedWith, liesOn, loopOn } from "./kernel-mapping.js";
import { MappingClaims } from "./mapping-claims.js";
import {
  claimedByOther,
  hasHeader,
  mappingBusy,
  mappingForeign,
  notClaimed,
  openingFailed,
  volumeInUse,
} from "./mapping-error.js";
import { isMappingName } from "./mapping-name.js";
import { writerOf } from "./volume-writer.js";

/** Milliseconds that a mapping's users have to let it go: udev looks at every device that was closed. */
const PATIENCE = 3000;
const PAUSE = 200;

/** Where the mappings of this host are kept track of. */
export interface MappingPlaces {
  /** The same for all processes of the host, and empty after it has restarted. */
  readonly claims: string;
  readonly locks?: string;
}

/** Mappings that cryptsetup makes, each under a lock of its name and, before it is made, a claim. */
export class DmCryptMappings implements Mappings {
  readonly #claims: MappingClaims;
  readonly #locks: VolumeLocks;
  readonly #cryptsetup: Cryptsetup;

  constructor(
    private readonly runner: CommandRunner,
    { claims, locks }: MappingPlaces,
  ) {
    this.#claims = new MappingClaims(claims);
    // less than virsh waits for libvirtd, and more than opening takes
    this.#locks = new VolumeLocks(runner, locks, 10);
    this.#cryptsetup = new Cryptsetup(runner);
  }

  async open(request: MappingRequest, passphrase: Secret): Promise<void> {
    const { name, volume } = request;
    if (!isMappingName(name)) throw mappingForeign(name, "luksmith gives no mapping such a name");
    const type = volume.kind === "file" ? "regular file" : "block device";
    await using file = await VolumeFile.open(volume.path, "read", type);
    await this.#locks.hold(lockOf(name), async (lock) => {
      await this.#closeLeftover(request, lock);
      await this.#alone(file, async () => {
        const loop = await loopLeftOn(file);
        if (loop !== undefined) throw volumeInUse(request, `loop device ${loop} is made of it`);
        const writer = writerOf(file);
        if (writer !== undefined) throw volumeInUse(request, writer);
        if (request.spec.format === "plain") await refuseHeader(file);
        await this.#openClaimed({ ...request, file, passphrase, lock });
      });
    });
  }

  async close(name: string, guest?: Pick<MappingOwner, "id">): Promise<Closed> {
    // nothing of ours: no lock, no process
    if (this.#claimFor(name, guest) === undefined) return { kind: "closed" };
    return await this.#locks.hold(lockOf(name), async (lock) => {
      const claim = this.#claimFor(name, guest);
      if (claim === undefined) return { kind: "closed" };
      const closed = await this.#closeClaimed(claim, lock);
      if (closed.kind === "closed") this.#claims.remove(name);
      else await this.#cryptsetup.closeLater(name, lock);
      return closed;
    });
  }

  async resize(name: string, passphrase: Secret): Promise<void> {
    const claim = this.#claims.read(name);
    if (claim === undefined) throw volumeNotGrown(name, "luksmith has opened no such mapping");
    const { volume } = claim;
    await this.#locks.hold(lockOf(name), async (lock) => {
      const result = await this.#cryptsetup.resize(name, passphrase, lock);
      if (result.exitCode !== CODE.ok) throw volumeNotGrown(volume, `its mapping: ${complaintOf(result)}`);
    });
  }

  claims(guestId?: string): readonly MappingClaim[] {
    return this.#claims.all().filter(({ guest }) => guestId === undefined || guest.id === guestId);
  }

  #claimFor(name: string, guest: Pick<MappingOwner, "id"> | undefined): MappingClaim | undefined {
    const claim = this.#claims.read(name);
    return guest === undefined || claim?.guest.id === guest.id ? claim : undefined;
  }

  /** @throws MAPPING_FOREIGN, MAPPING_BUSY */
  async #closeLeftover({ name, guest }: MappingRequest, lock: number): Promise<void> {
    const claim = this.#claims.read(name);
    if (findMapping(name) !== undefined) {
      if (claim === undefined || !isOpen(claim)) throw notClaimed(name);
      if (claim.guest.id !== guest.id) throw claimedByOther(claim);
    }
    if (claim === undefined) return;
    if ((await this.#closeClaimed(claim, lock)).kind === "busy") throw await mappingBusy(name);
  }

  /** The kernel claims a block device for one mapping; a file could get a loop device for each. */
  async #alone(file: VolumeFile, work: () => Promise<void>): Promise<void> {
    const { dev, ino } = file.stats;
    if (file.stats.isBlockDevice()) await work();
    else await this.#locks.hold(`mapping of inode ${dev}:${ino}`, work);
  }

  async #openClaimed(opening: ClaimedOpening): Promise<void> {
    const { name, guest, disk, uuid, volume, file, lock } = opening;
    const claim = { name, guest, disk, uuid, volume: volume.path };
    this.#claims.write(claim);
    let made = false;
    try {
      const result = await this.#cryptsetup.open({ ...opening, volume: file.fd });
      made = result.exitCode === CODE.ok;
      if (!made) throw await openingFailed(opening, result);
      refuseOther(opening);
    } catch (thrown) {
      // whoever gets no answer in time does not know what cryptsetup still does: the reaper looks later
      if (!hasCode(thrown, "TOOL_TIMEOUT"))
        await this.#takeBack(claim, { made, thrown, lock }).catch(() => undefined);
      throw thrown;
    }
  }

  /** A claim whose mapping could not be closed stays, for the reaper. */
  async #takeBack(claim: MappingClaim, { made, thrown, lock }: Failure): Promise<void> {
    const { name } = claim;
    // one that somebody else made of this name at this moment is none of ours
    if (!hasCode(thrown, "MAPPING_FOREIGN")) {
      const closed = made ? await this.#remove(name, lock) : await this.#closeClaimed(claim, lock);
      if (closed.kind === "busy") return;
    }
    this.#claims.remove(name);
  }

  /** Nothing where there is none, or one that was not opened for this claim. */
  async #closeClaimed(claim: MappingClaim, lock: number): Promise<Closed> {
    const { name } = claim;
    if (isOpen(claim)) return await this.#remove(name, lock);
    if (findMapping(name) === undefined && (await this.#isHalfMade(claim)))
      await this.#removeHalfMade(name, lock);
    return { kind: "closed" };
  }

  /** sysfs does not show a mapping that has no table yet, where a cryptsetup was killed in the middle. */
  async #isHalfMade({ name, uuid: key }: MappingClaim): Promise<boolean> {
    const args = ["info", "--columns", "--noheadings", "--options", "uuid", "--", name];
    // 1: there is none
    const { exitCode, stdout } = await this.runner.run({ tool: "dmsetup", args, answers: [1] });
    return exitCode === 0 && isOpenedWith({ uuid: stdout.trim() }, name, key);
  }

  /** cryptsetup knows none that has no table. */
  async #removeHalfMade(name: string, lock: number): Promise<void> {
    await this.runner.run({ tool: "dmsetup", args: ["remove", "--", name], fds: [lock] });
  }

  /** @throws TOOL_FAILED, TOOL_TIMEOUT */
  async #remove(name: string, lock: number): Promise<Closed> {
    const end = performance.now() + PATIENCE;
    for (;;) {
      const result = await this.#cryptsetup.close(name, lock);
      if (findMapping(name) === undefined) return { kind: "closed" };
      if (result.exitCode !== CODE.busy) break;
      if (performance.now() > end) return { kind: "busy" };
      await setTimeout(PAUSE);
    }
    await this.#removeHalfMade(name, lock);
    return { kind: "closed" };
  }
}

interface ClaimedOpening extends MappingRequest {
  readonly file: VolumeFile;
  readonly passphrase: Secret;
  readonly lock: number;
}

interface Failure {
  /** Whether cryptsetup had made the mapping. */
  readonly made: boolean;
  readonly thrown: unknown;
  readonly lock: number;
}

function lockOf(name: string): string {
  return `mapping ${name}`;
}

/** Whether there is a mapping that was opened for this claim. */
function isOpen({ name, uuid }: MappingClaim): boolean {
  const mapping = findMapping(name);
  return mapping !== undefined && isOpenedWith(mapping, name, uuid);
}

function hasCode(thrown: unknown, code: ErrorCode): boolean {
  return thrown instanceof LuksmithError && thrown.code === code;
}

/** A loop device on this file that does not go: some kernels take a moment after its mapping is closed. */
async function loopLeftOn(file: VolumeFile): Promise<string | undefined> {
  for (let tries = 5; tries > 0 && loopOn(file) !== undefined; tries--) await setTimeout(PAUSE);
  return loopOn(file);
}

/** The guest would see noise, and may take it for an empty disk. @throws LUKS_UUID_MISMATCH, VOLUME_UNREADABLE */
async function refuseHeader(file: VolumeFile): Promise<void> {
  if (!(await hasHeader(file))) return;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot open volume ${file.path} as plain dm-crypt`,
    why: "it has a LUKS header",
    hint: "find out which volume the disk should have",
  });
}

/** @throws LUKS_UUID_MISMATCH, VOLUME_NOT_FOUND if what was opened is not what was meant */
function refuseOther({ name, uuid, volume, file }: ClaimedOpening): void {
  const mapping = findMapping(name);
  if (mapping === undefined || !liesOn(mapping, file)) {
    throw new LuksmithError("VOLUME_NOT_FOUND", {
      what: `cannot open volume ${volume.path} with dm-crypt`,
      why: "it was moved, deleted or replaced meanwhile",
    });
  }
  if (isOpenedWith(mapping, name, uuid)) return;
  throw new LuksmithError("LUKS_UUID_MISMATCH", {
    what: `cannot open volume ${volume.path} with dm-crypt`,
    why: `its LUKS header is not the one of key ${uuid}`,
    hint: "find out which volume the disk should have",
  });
}
