import { readSync } from "node:fs";
import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import { openMemoryFile, secretFile } from "../secret/secret-file.js";
import { type LuksImage, luksPieces, MOST_WRITTEN } from "./luks-image.js";
import { LUKS_HEADER_BLOCK, luksHeaderLength, PAYLOAD_OFFSET, readLuksHeader } from "./luks-header.js";
import type { LuksSpec } from "./luks-spec.js";
import { COPY_SIZE } from "./luks2-header.js";

/** cryptsetup's exit code for "no permission": no keyslot opens with this passphrase. */
const REJECTED = 2;
/** cryptsetup wants room for a payload behind its header of 2 MiB. */
const SCRATCH_SIZE = 4 * 1024 * 1024;
const SECTOR = 512;

/** What makes a container of each format. */
const TYPE_OPTIONS: Readonly<Record<LuksSpec["format"], readonly string[]>> = {
  luks: ["--type", "luks1"],
  luksv2: [
    ...["--type", "luks2", "--pbkdf", "pbkdf2", "--sector-size", String(SECTOR)],
    ...["--luks2-metadata-size", String(COPY_SIZE)],
    ...["--luks2-keyslots-size", String(PAYLOAD_OFFSET - 2 * COPY_SIZE)],
  ],
};

/** Makes and tests LUKS containers with cryptsetup, which needs neither a device nor device-mapper for it. */
export class LuksFormatter {
  constructor(private readonly runner: CommandRunner) {}

  /**
   * A header under `uuid` that `passphrase` opens; nothing of it touches a disk.
   * It has 1000 PBKDF2 iterations, LUKS1's floor: right for machine-made passphrases of 512 bits, which gain nothing
   * from stretching, and wrong for a passphrase that a person chose.
   * @param volumeKey of a payload that is there; a new one without it
   */
  async makeHeader(
    uuid: KeyUuid,
    spec: LuksSpec,
    passphrase: Secret,
    volumeKey?: Secret,
  ): Promise<LuksImage> {
    using scratch = openMemoryFile(SCRATCH_SIZE);
    using key = secretFile(passphrase);
    using volumeKeyFile = volumeKey && secretFile(volumeKey);
    await this.runner.run({
      tool: "cryptsetup",
      args: [
        ...["luksFormat", "-q", ...TYPE_OPTIONS[spec.format], "--uuid", uuid],
        ...["--cipher", spec.cipher, "--key-size", String(spec.keySize), "--hash", spec.hash],
        // without it, the payload of a LUKS1 container with a volume key of 128 bits begins at 1 MiB
        ...["--offset", String(PAYLOAD_OFFSET / SECTOR)],
        ...(volumeKeyFile === undefined ? [] : ["--volume-key-file", "/proc/self/fd/5"]),
        ...["--pbkdf-force-iterations", "1000", "--key-file", "/proc/self/fd/4", "--", "/proc/self/fd/3"],
      ],
      fds: [scratch.fd, key.fd, ...(volumeKeyFile === undefined ? [] : [volumeKeyFile.fd])],
    });
    return readImage(scratch.fd, uuid, spec);
  }

  /**
   * Whether a keyslot of the LUKS container that `fd` is open on opens with `passphrase`. cryptsetup may mend the
   * second copy of a LUKS2 header there: give it a copy. @throws TOOL_FAILED
   */
  async tryPassphrase(fd: number, passphrase: Secret): Promise<"opens" | "rejected"> {
    using key = secretFile(passphrase);
    const { exitCode } = await this.runner.run({
      tool: "cryptsetup",
      args: [
        ...["open", "--test-passphrase", "--type", "luks"],
        ...["--key-file", "/proc/self/fd/3", "--", "/proc/self/fd/4"],
      ],
      fds: [key.fd, fd],
      // the only code that speaks about the passphrase and not about cryptsetup's own trouble
      answers: [REJECTED],
    });
    return exitCode === REJECTED ? "rejected" : "opens";
  }
}

function readImage(fd: number, uuid: KeyUuid, { format }: LuksSpec): LuksImage {
  const length = luksHeaderLength(readAt(fd, 0, LUKS_HEADER_BLOCK));
  const answer = readLuksHeader(readAt(fd, 0, length), [format]);
  if (answer.kind !== "luks" || answer.header.uuid !== uuid) throw unusable(answer);
  const { header } = answer;
  const pieces = luksPieces(header).map(({ offset, length }) => ({
    offset,
    bytes: readAt(fd, offset, length),
  }));
  const end = Math.max(...pieces.map(({ offset, bytes }) => offset + bytes.length));
  if (header.payloadOffset !== PAYLOAD_OFFSET || end > MOST_WRITTEN) throw unusable(answer);
  return { header, pieces };
}

function unusable(answer: ReturnType<typeof readLuksHeader>): LuksmithError {
  return new LuksmithError("TOOL_FAILED", {
    what: "cryptsetup made a LUKS header that cannot be used",
    why: answer.kind === "bad" ? answer.reason : "it is not the header that was asked for",
  });
}

/** Bytes of a file in memory, where a read is never short. */
function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, offset);
  return bytes;
}
