import {
  claimedLuksUuid,
  LUKS_HEADER_BLOCK,
  luksAreas,
  type LuksHeader,
  readLuksHeader,
} from "../../encryption/luks-header.js";
import type { EncryptionFormat } from "../../encryption/luks-spec.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { allocationMap } from "../allocation-map.js";
import { QCOW2_HEADER_AREA, type Qcow2Backing, type Qcow2Header, readQcow2Header } from "./qcow2-header.js";
import { probeOverlay } from "./qcow2-overlay.js";
import { signatureOf } from "../signature.js";
import type { Probe, ProbeDepth } from "../storage-backend.js";
import type { VolumeFile } from "../volume-file.js";
import { readsAsZero } from "../zero.js";

/** QEMU alone opens what is inside an image, and it knows LUKS1 only. */
export const QCOW2_FORMATS: readonly EncryptionFormat[] = ["luks"];

/** A probe that keeps what it read of an image that may be made anew. */
export type Qcow2Probe =
  | { readonly kind: "empty"; readonly image: Qcow2Header }
  /** `container`: where in the file the LUKS header stands. */
  | { readonly kind: "luks"; readonly header: LuksHeader; readonly container: number }
  | Exclude<Probe, { readonly kind: "empty" | "luks" }>;

/** What a qcow2 image file holds. @throws VOLUME_UNREADABLE, TOOL_TIMEOUT: it proves nothing */
export async function probeQcow2(
  runner: CommandRunner,
  file: VolumeFile,
  depth: ProbeDepth,
): Promise<Qcow2Probe> {
  const answer = readQcow2Header(await file.read(0, QCOW2_HEADER_AREA));
  switch (answer.kind) {
    case "none": {
      const signature = depth === "header" ? undefined : await signatureOf(runner, file);
      return { kind: "data", signature: signature ?? "content that is no qcow2 image" };
    }
    case "bad":
      return { kind: "unreadable", reason: answer.reason };
    case "qcow2":
  }
  const image = answer.header;
  if (image.encryption.kind === "luks") return probeContainer(file, image.encryption);
  const signature = contentBesidesClusters(image);
  // checked before qemu-img sees the image: a hostile header must not make it open other files
  if (signature !== undefined) return { kind: "data", signature };
  const { backing } = image;
  if (backing !== undefined && backing.format === undefined)
    return { kind: "unreadable", reason: guessed(backing) };
  if (depth === "header") return { kind: "allocated" };
  if (backing !== undefined) {
    const answer = await probeOverlay(runner, file, image, depth);
    if (answer === "empty") return { kind: "empty", image };
    return answer === "data"
      ? { kind: "data", signature: `${overlay(backing)} with data of its own` }
      : { kind: answer };
  }
  const allocation = await allocationMap(runner, file, { format: "qcow2", size: image.size });
  if (allocation !== "compressed" && allocation.length === 0) return { kind: "empty", image };
  switch (depth) {
    case "allocation-map":
      return { kind: "allocated" };
    case "read":
      return (await readsAsZero(file, allocation))
        ? { kind: "empty", image }
        : { kind: "data", signature: undefined };
  }
}

async function probeContainer(
  file: VolumeFile,
  { offset, length }: { readonly offset: number; readonly length: number },
): Promise<Qcow2Probe> {
  const start = await file.read(offset, Math.min(LUKS_HEADER_BLOCK, length));
  const bad = (reason: string): Qcow2Probe => {
    return { kind: "bad-luks", reason, claimedUuid: claimedLuksUuid(start) };
  };
  const luks = readLuksHeader(start, QCOW2_FORMATS);
  switch (luks.kind) {
    case "luks": {
      const end = Math.max(...luksAreas(luks.header).map((area) => area.offset + area.length));
      return end <= Math.min(length, file.size - offset)
        ? { kind: "luks", header: luks.header, container: offset }
        : bad("the image ends within its LUKS header");
    }
    case "bad":
      return bad(luks.reason);
    case "none":
      return bad("no LUKS header stands where the qcow2 header says");
  }
}

/** What an image without any allocated cluster may hold or need all the same, in words. */
function contentBesidesClusters(image: Qcow2Header): string | undefined {
  if (image.encryption.kind === "aes") return "qcow2 image with QEMU's old AES encryption";
  if (image.externalDataFile) return "qcow2 image with an external data file";
  if (image.snapshots > 0) return "qcow2 image with internal snapshots";
  if (image.persistentBitmaps) return "qcow2 image with persistent bitmaps";
  return undefined;
}

/** Quoted, since the name comes from the image and may hold anything. */
function overlay({ name }: Qcow2Backing): string {
  return `qcow2 overlay over ${JSON.stringify(name.toString())}`;
}

/** qemu-img makes no overlay without the base's format any more, and libvirt starts no guest from one. */
function guessed(backing: Qcow2Backing): string {
  return `it is a ${overlay(backing)} that does not say in which format that is; write it down: qemu-img rebase -u -f qcow2 -F FORMAT -b BASE IMAGE`;
}
