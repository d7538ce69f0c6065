import { compareVersions } from "../../encryption/versions.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { EngineVersions } from "../storage-backend.js";

/** The first QEMU and libvirt that hand a passphrase to librbd (their release notes). */
const LEAST = { qemu: "6.1", libvirt: "7.9" };

/**
 * By release series, the first librbd that shows QEMU the allocation of the decrypted image. Those before show that of
 * the encrypted one, which begins a header earlier: whatever copies the disk (`qemu-img convert`, `blockcopy`, a
 * backup) takes data for holes. Series after the last one have it from their beginning.
 */
const MENDED = [
  { series: 17, version: "17.2.8" },
  { series: 18, version: "18.2.5" },
  { series: 19, version: "19.2.0" },
];

/** Why guests of this host must not have librbd decrypt; undefined if they may. */
export function whyNotLibrbd({
  librbd,
  qemu,
  libvirt,
}: EngineVersions & { librbd: string }): string | undefined {
  if (compareVersions(qemu, LEAST.qemu) < 0) return `QEMU ${qemu} is older than ${LEAST.qemu}`;
  if (libvirt !== undefined && compareVersions(libvirt, LEAST.libvirt) < 0)
    return `libvirt ${libvirt} is older than ${LEAST.libvirt}`;
  const series = Number.parseInt(librbd, 10);
  const mended = MENDED.find((release) => series <= release.series)?.version;
  if (mended === undefined || compareVersions(librbd, mended) >= 0) return undefined;
  return `librbd ${librbd} loses data in copies of an encrypted disk; ${mended} does not`;
}

/** Of the package whose librbd QEMU loads. @throws TOOL_MISSING, TOOL_FAILED */
export async function librbdVersion(runner: CommandRunner): Promise<string> {
  const { stdout } = await runner.run({ tool: "rbd", args: ["--version"] });
  const version = /^ceph version (\d+(?:\.\d+)+)/.exec(stdout)?.[1];
  if (version !== undefined) return version;
  throw new LuksmithError("TOOL_FAILED", {
    what: "cannot tell the version of librbd",
    why: "rbd does not say it",
  });
}

export function librbdRefused(name: string, why: string): LuksmithError {
  return new LuksmithError("TRAIT_MISSING", {
    what: `librbd must not decrypt ${name}`,
    why,
    hint: "set storage.rbd.engine to qemu",
  });
}

/** librbd 16.2 writes zeros over the LUKS header of a clone as soon as its guest writes beside it. */
export function parentRefused(name: string): LuksmithError {
  return new LuksmithError("TRAIT_MISSING", {
    what: `librbd must not decrypt ${name}`,
    why: "it is a clone, and librbd destroys the LUKS header of a clone when its guest writes",
    hint: "let QEMU decrypt it: no engine in the encryption block, storage.rbd.engine qemu; or rbd flatten it first",
  });
}
