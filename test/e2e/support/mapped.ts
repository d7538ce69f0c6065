import { execFileSync } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import type { GuestDisk, TestGuest } from "./guests.js";
import type { LuksmithHost } from "./luksmith-host.js";
import { MIB } from "./volumes.js";

/** How a guest's definition says that a disk is given as a mapping. */
export interface MappedDisk {
  /** `/dev/mapper/NAME` */
  readonly device: string;
  readonly name: string;
  /** What lies under it. */
  readonly volume: string;
  readonly format: string;
  readonly secret: string;
}

/** A guest whose disks are these paths, from vda on. */
export function guestOn(host: LuksmithHost, name: string, ...paths: readonly string[]): Promise<TestGuest> {
  const disks = paths.map((path, index): GuestDisk => {
    const format = path.endsWith(".qcow2") ? "qcow2" : "raw";
    return { dev: `vd${String.fromCharCode(97 + index)}`, path, format };
  });
  return host.define({ name, disks });
}

/** The disks of its persistent definition that name a mapping, by device name. */
export async function mappedDisks(host: LuksmithHost, guest: TestGuest): Promise<Record<string, MappedDisk>> {
  const definition = await host.definition(guest);
  const mapped: Record<string, MappedDisk> = {};
  for (const [element] of definition.matchAll(/<luksmith:mapping\s[^>]*>/g)) {
    const of = (name: string) => new RegExp(`\\s${name}=(['"])(.*?)\\1`).exec(element)?.[2] ?? "";
    const device = `/dev/mapper/${of("name")}`;
    const disk = [...definition.matchAll(/<disk .*?<\/disk>/gs)].find(([xml]) =>
      new RegExp(`<target dev='${of("dev")}'`).test(xml),
    );
    if (!disk?.[0].includes(`<source dev='${device}'`)) throw new Error(`${of("dev")} is not on ${device}`);
    mapped[of("dev")] = {
      ...{ device, name: of("name") },
      ...{ volume: of("volume"), format: of("format"), secret: of("secret") },
    };
  }
  return mapped;
}

/** Bytes of a volume or a mapping as it is on what holds it: nothing that the kernel has kept of it. */
export function bytesAt(path: string, offset: number, length: number): Buffer {
  execFileSync("sync");
  if (path.startsWith("/dev/")) execFileSync("blockdev", ["--flushbufs", path]);
  const bytes = Buffer.alloc(length);
  const fd = openSync(path, "r");
  try {
    readSync(fd, bytes, 0, length, offset);
  } finally {
    closeSync(fd);
  }
  return bytes;
}

/** Whether this is anywhere in the volume. */
export function holds(path: string, bytes: Buffer, size = 16 * MIB): boolean {
  return bytesAt(path, 0, size).includes(bytes);
}
