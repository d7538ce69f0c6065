import { execFileSync } from "node:child_process";
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RESULTS } from "../../lab/uml.js";
import { lvm, VolumeGroup } from "../../lab/volume-group.js";
import { LuksmithHost } from "./luksmith-host.js";

/** A host that loses its power again and again, in User-Mode Linux with two disks: its files, and a physical volume. */
export interface Boots<Facts> {
  /** Bytes of the host's volumes, by name. */
  readonly volumes: Readonly<Record<string, number>>;
  /** The number of times that the power goes. */
  readonly cuts: number;
  /** In the first boot. */
  readonly prepare: (host: LuksmithHost) => Promise<void>;
  /** Begins what the power goes in the middle of: the `index`-th time, from 0. */
  readonly cut: (host: LuksmithHost, index: number) => Promise<void>;
  /** In the boot after that. */
  readonly recover: (host: LuksmithHost, index: number) => Promise<Facts>;
}

/** Where the host's files are that are there after a power cut. */
export const STATE = "/mnt";
const GROUP = "cut";

/** Does what is to be done in the boot that the command line names; all but the last one end here, and never return. */
export async function runBoots<Facts>({ volumes, cuts, prepare, cut, recover }: Boots<Facts>): Promise<void> {
  const boot = Number(process.argv[2]);
  if (boot === 0) makeDisks(volumes);
  else bringUp();
  await using host = await LuksmithHost.start({ state: STATE });
  if (boot === 0) await prepare(host);
  else keep(`facts-${boot - 1}`, await recover(host, boot - 1));
  if (boot === cuts) {
    const all = Array.from({ length: cuts }, (_, index) => kept(`facts-${index}`));
    writeFileSync(join(RESULTS, "facts"), JSON.stringify(all));
  } else {
    await cut(host, boot);
    writeFileSync("/proc/sysrq-trigger", "c");
  }
}

export function pathOf(volume: string): string {
  return `/dev/${GROUP}/${volume}`;
}

/** A power cut does not lose it. */
export function keep(name: string, value: unknown): void {
  const fd = openSync(join(STATE, name), "w");
  writeFileSync(fd, JSON.stringify(value));
  fsyncSync(fd);
  closeSync(fd);
}

export function kept(name: string): unknown {
  return JSON.parse(readFileSync(join(STATE, name), "utf8"));
}

function makeDisks(volumes: Readonly<Record<string, number>>): void {
  execFileSync("mkfs.ext4", ["-q", "/dev/ubda"]);
  execFileSync("mount", ["/dev/ubda", STATE]);
  const group = new VolumeGroup({ name: GROUP, device: "/dev/ubdb" });
  for (const [name, size] of Object.entries(volumes)) group.create(name, size);
}

function bringUp(): void {
  execFileSync("mount", ["/dev/ubda", STATE]);
  lvm("vgchange", "--quiet", "--activate", "y", GROUP);
}
