import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import {
  EXTENSION_BACKING_FORMAT,
  type Qcow2Header,
  readQcow2Header,
} from "../../../src/storage/qcow2/qcow2-header.js";
import { plainNode, qemuIo, run } from "../qemu.js";
import { type FileVolume, MIB } from "../workshop.js";

export interface OverlayChoices {
  /** Format of the base: `raw` without it. */
  readonly format?: string;
  readonly size?: number;
  /** Of qemu-img. */
  readonly options?: string;
}

/** An overlay that holds nothing, in place of what `volume` was. The base need not be there. */
export function makeOverlay(
  volume: FileVolume,
  base: string,
  { format = "raw", size = 8 * MIB, options }: OverlayChoices = {},
): FileVolume {
  const chosen = options === undefined ? [] : ["-o", options];
  const names = ["-b", base, "-F", format];
  run("qemu-img", [
    "create",
    "-q",
    "-u",
    "-f",
    "qcow2",
    ...names,
    ...chosen,
    "--",
    volume.path,
    String(size),
  ]);
  return volume;
}

/** A raw or qcow2 image full of one byte. */
export function makeBase(
  path: string,
  {
    format = "raw",
    size = 8 * MIB,
    byte = 0x41,
  }: { format?: "raw" | "qcow2"; size?: number; byte?: number } = {},
): FileVolume {
  const base: FileVolume = { kind: "file", path, format };
  run("qemu-img", ["create", "-q", "-f", format, "--", path, String(size)]);
  qemuIo(plainNode(base), [`write -P ${byte} 0 ${size}`]);
  return base;
}

export function headerOf({ path }: { readonly path: string }): Qcow2Header {
  const answer = readQcow2Header(readFileSync(path).subarray(0, 65_536));
  if (answer.kind !== "qcow2") throw new Error("it is no qcow2 image");
  return answer.header;
}

/** What an overlay promises: all that its header says but where things are in the file, and the encryption. */
export function promisesOf(volume: { readonly path: string }): Partial<Qcow2Header> {
  const inTheFile = ["extensions", "l1Table", "refcountTable", "encryption"];
  return Object.fromEntries(Object.entries(headerOf(volume)).filter(([name]) => !inTheFile.includes(name)));
}

/** Replaces the base's name by as many other bytes. */
export function renameBase({ path }: FileVolume, name: Buffer): void {
  const bytes = readFileSync(path);
  const old = headerOf({ path }).backing?.name;
  if (old?.length !== name.length) throw new Error("the names must have one length");
  name.copy(bytes, bytes.indexOf(old));
  writeFileSync(path, bytes);
}

/** As tools did before QEMU 6.1: nothing says which format the base has. */
export function forgetBaseFormat({ path }: FileVolume): void {
  const bytes = readFileSync(path);
  const type = Buffer.alloc(4);
  type.writeUInt32BE(EXTENSION_BACKING_FORMAT);
  bytes.writeUInt32BE(0x1234_5678, bytes.indexOf(type));
  writeFileSync(path, bytes);
}

export function overwrite({ path }: { readonly path: string }, offset: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, offset);
  closeSync(fd);
}
