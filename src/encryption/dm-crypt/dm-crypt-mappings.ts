import { setTimeout } from "node:timers/promises";
import type { ErrorCode } from "../../error/catalogue.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { parseKeyUuid } from "../../keystore/key-uuid.js";
import type { Secret } from "../../secret/secret.js";
import { volumeNotGrown } from "../../storage/volume-error.js";
import { deviceNumber, VolumeFile } from "../../storage/volume-file.js";
import { VolumeLocks } from "../../storage/volume-lock.js";
import type { Closed, MappingClaim, MappingOwner, MappingRequest, Mappings } from "../encryption-provider.js";
import { CODE, complaintOf, Cryptsetup } from "./cryptsetup.js";
import { findMapping, isOfKind, isOpenedFor } from "./kernel-mapping.js";
import { type KeptClaim, MappingClaims } from "./mapping-claims.js";
import {
  claimedByOther,
  mappingBusy,
  mappingForeign,
  notClaimed,
  openingFailed,
  otherHeader,
} from "./mapping-error.js";
import { isMappingName } from "./mapping-name.js";
import { refuseHeader, refuseOther, refusePartSector, refuseUsed } from "./volume-check.js";

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
    // more than opening takes with a passphrase of ours, and less than cryptsetup is given for a device that does not
    // answer: libvirt waits for a hook with the guest locked, and nobody is to wait for that as well
    this.#locks = new VolumeLocks(runner, locks, 10);
    this.#cryptsetup = new Cryptsetup(runner);
  }

  async open(request: MappingRequest, passphrase: Secret): Promise<void> {
    const { name, volume } = request;
    if (!isMappingName(name)) throw mappingForeign(name, "luksmith gives no mapping such a name");
    const type = volume.kind === "file" ? "regular file" : "block device";
    await using file = await VolumeFile.open(volume.path, "read", type);
    refusePartSector(file);
    await this.#locks.hold(lockOf(name), async (lock) => {
      await this.#closeLeftover(request, lock);
      await this.#alone(file, async () => {
        await refuseUsed(file, request);
        const opening = { ...request, file, passphrase, lock };
        if (request.spec.format === "plain") await refuseHeader(file);
        else await this.#refuseOtherHeader(opening);
        await this.#openClaimed(opening);
      });
    });
  }

  async close(name: string, guest?: Pick<MappingOwner, "id">): Promise<Closed> {
    const claim = this.#claimFor(name, guest);
    // nothing of ours: no lock, no process
    if (claim === undefined) return { kind: "closed" };
    return await this.#locks.hold(lockOf(name), async (lock) => {
      // another one is that of a start which came while this waited
      if (this.#claims.read(name)?.nonce !== claim.nonce) return { kind: "closed" };
      const ending = await this.#closeClaimed(claim, lock);
      switch (ending) {
        case "closed":
          this.#claims.remove(name);
          return { kind: "closed" };
        case "busy":
          await this.#cryptsetup.closeLater(name, lock);
          return { kind: "busy" };
        case "foreign":
          return { kind: "busy", why: "a mapping of this name is open that was not opened for this disk" };
      }
    });
  }

  async resize(name: string, passphrase: Secret): Promise<void> {
    const claim = this.#claims.read(name);
    if (claim === undefined) throw volumeNotGrown(name, "luksmith has opened no such mapping");
    const { volume } = claim;
    await this.#locks.hold(lockOf(name), async (lock) => {
      if (!isOpen(claim))
        throw volumeNotGrown(volume, "its mapping is not open, or another one of its name is");
      const result = await this.#cryptsetup.resize(name, passphrase, lock);
      if (result.exitCode !== CODE.ok) throw volumeNotGrown(volume, `its mapping: ${complaintOf(result)}`);
    });
  }

  async hold<T>(name: string, work: () => Promise<T>): Promise<T> {
    return await this.#locks.hold(lockOf(name), work);
  }

  claims(guestId?: string): readonly MappingClaim[] {
    return this.#claims.all().filter(({ guest }) => guestId === undefined || guest.id === guestId);
  }

  #claimFor(name: string, guest: Pick<MappingOwner, "id"> | undefined): KeptClaim | undefined {
    const claim = this.#claims.read(name);
    return guest === undefined || claim?.guest.id === guest.id ? claim : undefined;
  }

  /** @throws MAPPING_FOREIGN, MAPPING_BUSY */
  async #closeLeftover(request: MappingRequest, lock: number): Promise<void> {
    const { name, guest, disk, uuid } = request;
    const claim = this.#claims.read(name);
    if (findMapping(name) !== undefined) {
      if (claim === undefined || !isOpen(claim)) throw notClaimed(name);
      // volumes of one name in two groups have one name for their plain mappings
      const isItsOwn = claim.guest.id === guest.id && claim.disk === disk && claim.uuid === uuid;
      if (!isItsOwn) throw claimedByOther(claim, guest);
    }
    if (claim === undefined) return;
    const ending = await this.#closeClaimed(claim, lock);
    if (ending === "busy") throw await mappingBusy(name);
    if (ending === "foreign") throw notClaimed(name);
  }

  /**
   * Before there is a mapping: killed after it, nobody would know whose that is.
   * By a process, which can be left behind where a device does not answer. @throws LUKS_UUID_MISMATCH
   */
  async #refuseOtherHeader(opening: ClaimedOpening): Promise<void> {
    const { uuid, volume, file, lock } = opening;
    const result = await this.#cryptsetup.headerUuid(file.fd, lock);
    if (result.exitCode !== CODE.ok) throw await openingFailed(opening, result);
    if (parseKeyUuid(result.stdout.trim()) !== uuid) throw otherHeader(volume.path, uuid);
  }

  /** The kernel claims a block device for one mapping; a file could get a loop device for each. */
  async #alone(file: VolumeFile, work: () => Promise<void>): Promise<void> {
    const { dev, ino } = file.stats;
    if (file.stats.isBlockDevice()) await work();
    else await this.#locks.hold(`mapping of inode ${dev}:${ino}`, work);
  }

  async #openClaimed(opening: ClaimedOpening): Promise<void> {
    const { name, guest, disk, uuid, volume, spec, file, lock } = opening;
    const device = file.stats.isBlockDevice() ? deviceNumber(file.stats) : null;
    const { format } = spec;
    const claim = this.#claims.write({ name, guest, disk, uuid, volume: volume.path, format, device });
    let made = false;
    try {
      const result = await this.#cryptsetup.open({ ...opening, volume: file.fd });
      made = result.exitCode === CODE.ok;
      if (!made) throw await openingFailed(opening, result);
      refuseOther(claim, file);
    } catch (thrown) {
      // whoever gets no answer in time does not know what cryptsetup still does: the reaper looks later
      if (!hasCode(thrown, "TOOL_TIMEOUT"))
        await this.#takeBack(claim, { made, thrown, lock }).catch(() => undefined);
      throw thrown;
    }
  }

  /** A claim stays, for the reaper, whose mapping could not be closed, or cannot be told from another's. */
  async #takeBack(claim: KeptClaim, { made, thrown, lock }: Failure): Promise<void> {
    const { name } = claim;
    // one that somebody else made of this name at this moment is none of ours
    if (!hasCode(thrown, "MAPPING_FOREIGN")) {
      const ending = made ? await this.#remove(name, lock) : await this.#closeClaimed(claim, lock);
      if (ending !== "closed") return;
    }
    this.#claims.remove(name);
  }

  /** Nothing is done where there is none, or one that was not opened for this claim. */
  async #closeClaimed(claim: KeptClaim, lock: number): Promise<Ending> {
    const { name } = claim;
    if (isOpen(claim)) return await this.#remove(name, lock);
    if (findMapping(name) !== undefined) return "foreign";
    if (await this.#isHalfMade(claim)) await this.#removeHalfMade(name, lock);
    return "closed";
  }

  /** sysfs does not show a mapping that has no table yet, where a cryptsetup was killed in the middle. */
  async #isHalfMade(claim: KeptClaim): Promise<boolean> {
    const { name } = claim;
    const args = ["info", "--columns", "--noheadings", "--options", "uuid", "--", name];
    // 1: there is none
    const { exitCode, stdout } = await this.runner.run({ tool: "dmsetup", args, answers: [1] });
    return exitCode === 0 && isOfKind({ uuid: stdout.trim() }, claim);
  }

  /** cryptsetup knows none that has no table. */
  async #removeHalfMade(name: string, lock: number): Promise<void> {
    await this.runner.run({ tool: "dmsetup", args: ["remove", "--", name], fds: [lock] });
  }

  /** @throws TOOL_FAILED, TOOL_TIMEOUT */
  async #remove(name: string, lock: number): Promise<"closed" | "busy"> {
    const end = performance.now() + PATIENCE;
    for (;;) {
      const result = await this.#cryptsetup.close(name, lock);
      if (findMapping(name) === undefined) return "closed";
      if (result.exitCode !== CODE.busy) break;
      if (performance.now() > end) return "busy";
      await setTimeout(PAUSE);
    }
    await this.#removeHalfMade(name, lock);
    return "closed";
  }
}

interface ClaimedOpening extends MappingRequest {
  readonly file: VolumeFile;
  readonly passphrase: Secret;
  readonly lock: number;
}

/** What became of a claim's mapping; `foreign` where there is one of its name that was not opened for it. */
type Ending = "closed" | "busy" | "foreign";

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
function isOpen(claim: KeptClaim): boolean {
  const mapping = findMapping(claim.name);
  return mapping !== undefined && isOpenedFor(mapping, claim);
}

function hasCode(thrown: unknown, code: ErrorCode): boolean {
  return thrown instanceof LuksmithError && thrown.code === code;
}
