import { closeSync, openSync, readSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { LuksmithError } from "../error/luksmith-error.js";
import { printable } from "../error/printable.js";
import { systemErrorOf } from "../fs/system-error.js";
import type { Volume } from "./volume.js";
import { parseRbdName } from "./volume-name.js";

export type GivenFormat = "raw" | "qcow2";

const QCOW2_MAGIC = Buffer.from("QFI\xfb", "latin1");
const LUKS_MAGIC = Buffer.from("LUKS\xba\xbe", "latin1");

/**
 * The volume that somebody names, with no guest's configuration to tell its image format: what an encrypted volume
 * begins with was never written by its guest, so that its first bytes may.
 * @throws VOLUME_NOT_FOUND, VOLUME_UNREADABLE, USAGE if neither its first bytes nor `format` tell
 */
export function volumeArgument(name: string, format?: GivenFormat): Volume {
  const image = parseRbdName(name);
  if (image !== undefined) return image;
  const path = resolve(name);
  try {
    const isDevice = statSync(path).isBlockDevice();
    if (isDevice) return { kind: "block", path, format: format ?? "raw" };
    return { kind: "file", path, format: format ?? formatOf(path) };
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    if (failure === undefined) throw thrown;
    throw new LuksmithError(failure.code === "ENOENT" ? "VOLUME_NOT_FOUND" : "VOLUME_UNREADABLE", {
      what: `cannot read ${printable(path)}`,
      why: failure.text,
    });
  }
}

function formatOf(path: string): GivenFormat {
  const start = Buffer.alloc(LUKS_MAGIC.length);
  const fd = openSync(path, "r");
  try {
    readSync(fd, start, 0, start.length, 0);
  } finally {
    closeSync(fd);
  }
  if (start.equals(LUKS_MAGIC)) return "raw";
  if (start.subarray(0, QCOW2_MAGIC.length).equals(QCOW2_MAGIC)) return "qcow2";
  throw new LuksmithError("USAGE", {
    what: `cannot tell the image format of ${printable(path)}`,
    why: "it begins with neither a LUKS header nor a qcow2 one",
    hint: "say --format raw or --format qcow2",
  });
}
