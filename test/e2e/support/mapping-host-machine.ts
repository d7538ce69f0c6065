import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { type Operations, serveOperations } from "../../lab/two-kernels-machine.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import type { TestGuest } from "./guests.js";
import { kernelMappings } from "./kernel-devices.js";
import { leftoversOf, nobodyAtWork } from "./leftovers.js";
import { LuksmithHost } from "./luksmith-host.js";
import { bytesAt, mappedDisks } from "./mapped.js";
import { MIB } from "./volumes.js";
import { checkWriting, defineWriter, type Writing, writesOn } from "./writing-guest.js";

/**
 * `mapping-host-machine.ts ADDRESS`, in one of two kernels: a libvirt host with Luksmith, whose libvirtd listens there,
 * and a volume group on the disk that both have.
 */
export type MappingHost = ReturnType<typeof operationsOf>;

const GROUP = "shared";
const DEVICE = "/dev/ubda";
const OTHER_KEYS = "/var/lib/luksmith/keystore-other";

// not where only the types are wanted
if (process.argv[1]?.endsWith("mapping-host-machine.mjs")) await run(process.argv[2]!);

async function run(address: string): Promise<void> {
  await using host = await LuksmithHost.start({ address });
  execFileSync("ip", ["link", "set", "vec0", "netns", host.libvirt.network]);
  insideOf(host, "address", "add", `${address}/30`, "dev", "vec0");
  insideOf(host, "link", "set", "vec0", "up");
  await serveOperations(operationsOf(host) satisfies Operations);
}

/** `ip`, where the host's network is. */
function insideOf(host: LuksmithHost, ...args: readonly string[]): void {
  execFileSync("nsenter", [`--net=${host.libvirt.network}`, "--", "ip", ...args]);
}

function operationsOf(host: LuksmithHost) {
  return { ...volumeOperations(), ...guestOperations(host), ...hostOperations(host) };
}

/** LVM does not know that there are two: only one of them changes the group. */
function volumeOperations() {
  let group: VolumeGroup | undefined;
  let removeImpostor = () => {};
  return {
    /** Makes it, and activates it here. @returns its path, on both */
    newVolume(name: string): string {
      group ??= new VolumeGroup({ name: GROUP, device: DEVICE });
      return group.create(name, 16 * MIB);
    },
    /** A volume that the other one has made. */
    activate(name: string): void {
      lvm("lvchange", "--quiet", "--activate", "y", `${GROUP}/${name}`);
    },
    deactivate(name: string): void {
      lvm("lvchange", "--quiet", "--activate", "n", `${GROUP}/${name}`);
    },
    /** In place of a volume that is not active, until `removeImpostor`: as if this host had a group of that name too. */
    putImpostor(name: string): void {
      const loop = new LoopDevice(16 * MIB);
      const table = `0 ${loop.size / 512} linear ${loop.path} 0`;
      // libdevmapper is to make the node itself: there is no udev
      const making = ["create", "--verifyudev", `${GROUP}-${name}`, "--uuid", "LVM-impostor"];
      execFileSync("dmsetup", [...making, "--table", table]);
      mkdirSync(`/dev/${GROUP}`, { recursive: true });
      symlinkSync(`/dev/mapper/${GROUP}-${name}`, `/dev/${GROUP}/${name}`);
      const format = ["luksFormat", "-q", "--type=luks1", "--pbkdf-force-iterations=1000", "--key-file=-"];
      execFileSync("cryptsetup", [...format, `/dev/${GROUP}/${name}`], { input: "impostor" });
      removeImpostor = () => {
        rmSync(`/dev/${GROUP}/${name}`);
        execFileSync("dmsetup", ["remove", "--verifyudev", `${GROUP}-${name}`]);
        loop[Symbol.dispose]();
      };
    },
    removeImpostor: () => removeImpostor(),
    /** Digest of what the device holds as this kernel has it: what is in its cache out of that. */
    digest(path: string, offset: number, length: number): string {
      const file = openSync(path, "r");
      const bytes = Buffer.alloc(length);
      readSync(file, bytes, 0, length, offset);
      closeSync(file);
      return createHash("sha256").update(bytes).digest("hex");
    },
    /** How often somebody has the mapping open; 0 where there is none. */
    openers(name: string): number {
      const { stdout } = spawnSync("dmsetup", [
        "info",
        "--columns",
        "--noheadings",
        "-o",
        "open",
        "--",
        name,
      ]);
      return Number(stdout.toString());
    },
    /** Whether the bytes are anywhere in the volume. */
    holds: (path: string, text: string) => bytesAt(path, 0, 16 * MIB).includes(text),
  };
}

function guestOperations(host: LuksmithHost) {
  return {
    /** A guest that writes to this volume for ever. */
    defineWriter: (name: string, path: string) =>
      defineWriter(host, { name, disks: [{ dev: "vda", path, format: "raw" }] }),
    start: (guest: TestGuest) => host.start(guest),
    stop: (guest: TestGuest) => host.stop(guest),
    guests: () => host.guests(),
    /** Path of its floppy. */
    programOf: async (guest: TestGuest) =>
      /<source file='([^']*writer-[^']*)'/.exec(await host.definition(guest))![1]!,
    mapped: (guest: TestGuest) => mappedDisks(host, guest),
    writesOn: (guest: TestGuest) => writesOn(host, guest, { rounds: 1 }),
    async checkWriting(path: string, uuid: string): Promise<Writing> {
      using passphrase = (await host.key(uuid)).passphrase;
      return await checkWriting({ dev: "vda", path, format: "raw" }, passphrase);
    },
  };
}

function hostOperations(host: LuksmithHost) {
  return {
    /** Names of the kernel's mappings that are no logical volumes. */
    mappings: () =>
      kernelMappings()
        .filter(({ uuid }) => !uuid.startsWith("LVM-"))
        .map(({ name }) => name),
    /** What hooks have left to be done has been done by then. */
    leftovers: async () => {
      await nobodyAtWork(host);
      return await leftoversOf(host);
    },
    secrets: () => host.libvirt.secretsLeft(),
    must: (...args: string[]) => host.must(...args),
    virsh: (...args: string[]) => host.libvirt.exec(["virsh", "-q", "-c", "qemu:///system", ...args]),
    log: () => host.log(),
    /** Nothing gets here any more, and the other one is not told. */
    unplug: () => insideOf(host, "link", "set", "vec0", "down"),
    plugIn: () => insideOf(host, "link", "set", "vec0", "up"),
    /** Base64 of a file of the host. */
    file: (path: string) => readFileSync(host.inside(path)).toString("base64"),
    /** Puts a file at the same path as on the other host. */
    place(path: string, content: string): void {
      mkdirSync(host.inside(dirname(path)), { recursive: true });
      writeFileSync(host.inside(path), Buffer.from(content, "base64"));
    },
    /** An archive of the keystore, in base64. */
    keys: () => execFileSync("tar", ["-c", "-C", host.keystoreDirectory, "."]).toString("base64"),
    /** Makes the other one's keys a keystore of this host. */
    async takeKeys(archive: string): Promise<void> {
      const directory = host.inside(OTHER_KEYS);
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      execFileSync("tar", ["-x", "-C", directory], { input: Buffer.from(archive, "base64") });
      const keystores = [
        { name: "local", type: "file" },
        { name: "other", type: "file", directory: OTHER_KEYS },
      ];
      await host.settings({ version: 1, keystores });
    },
    async reset(): Promise<void> {
      await host.stopGuests();
      await host.reset();
    },
    stopGuests: () => host.stopGuests(),
  };
}
