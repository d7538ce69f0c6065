import { readSync } from "node:fs";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import { openMemoryFile, secretFile } from "../secret/secret-file.js";
import { LUKS_HEADER_BLOCK, type LuksHeader, readLuksHeader } from "./luks-header.js";
import type { LuksSpec } from "./luks-spec.js";

/**
 * A new LUKS1 header, to be written at the start of a container whose other bytes are zero: only these two pieces
 * hold anything. Neither is secret: the key material is encrypted under the passphrase.
 */
export interface LuksImage {
  readonly header: LuksHeader;
  /** For offset 0 of the container, LUKS_HEADER_BLOCK bytes. */
  readonly block: Buffer;
  /** For `offset` of the container: the active keyslot's key material. */
  readonly keyMaterial: { readonly offset: number; readonly bytes: Buffer };
}

/** cryptsetup's exit code for "no permission": no keyslot opens with this passphrase. */
const REJECTED = 2;
/** cryptsetup wants room for a payload behind its header of 2 MiB. */
const SCRATCH_SIZE = 4 * 1024 * 1024;

/** Makes and tests LUKS1 containers with cryptsetup, which needs neither a device nor device-mapper for it. */
export class LuksFormatter {
  constructor(private readonly runner: CommandRunner) {}

  /**
   * A header under `uuid` that `passphrase` opens; nothing of it touches a disk.
   * It has 1000 PBKDF2 iterations, LUKS1's floor: right for machine-made passphrases of 512 bits, which gain nothing
   * from stretching, and wrong for a passphrase that a person chose.
   */
  async makeHeader(uuid: KeyUuid, spec: LuksSpec, passphrase: Secret): Promise<LuksImage> {
    using scratch = openMemoryFile(SCRATCH_SIZE);
    using key = secretFile(passphrase);
    await this.runner.run({
      tool: "cryptsetup",
      args: [
        ...["luksFormat", "-q", "--type", "luks1", "--uuid", uuid],
        ...["--cipher", spec.cipher, "--key-size", String(spec.keySize), "--hash", spec.hash],
        ...["--pbkdf-force-iterations", "1000", "--key-file", "/proc/self/fd/4", "--", "/proc/self/fd/3"],
      ],
      fds: [scratch.fd, key.fd],
    });
    return readImage(scratch.fd, uuid);
  }

  /** Whether a keyslot of the LUKS1 container that `fd` is open on opens with `passphrase`. @throws TOOL_FAILED */
  async tryPassphrase(fd: number, passphrase: Secret): Promise<"opens" | "rejected"> {
    using key = secretFile(passphrase);
    const { exitCode } = await this.runner.run({
      tool: "cryptsetup",
      args: [
        ...["open", "--test-passphrase", "--type", "luks1"],
        ...["--key-file", "/proc/self/fd/3", "--", "/proc/self/fd/4"],
      ],
      fds: [key.fd, fd],
      // the only code that speaks about the passphrase and not about cryptsetup's own trouble
      answers: [REJECTED],
    });
    return exitCode === REJECTED ? "rejected" : "opens";
  }
}

function readImage(fd: number, uuid: KeyUuid): LuksImage {
  const block = readAt(fd, 0, LUKS_HEADER_BLOCK);
  const answer = readLuksHeader(block);
  const keyslot = answer.kind === "luks" ? answer.header.keyslots.find((k) => k.active) : undefined;
  if (answer.kind !== "luks" || keyslot === undefined || answer.header.uuid !== uuid) {
    throw new LuksmithError("TOOL_FAILED", {
      what: "cryptsetup made a LUKS header that cannot be used",
      why: answer.kind === "bad" ? answer.reason : "it is not the header that was asked for",
    });
  }
  const { header } = answer;
  const bytes = readAt(fd, keyslot.offset, (header.keySize / 8) * keyslot.stripes);
  return { header, block, keyMaterial: { offset: keyslot.offset, bytes } };
}

/** Bytes of a file in memory, where a read is never short. */
function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, offset);
  return bytes;
}
