import type { LuksFormatter } from "../../encryption/luks-formatter.js";
import type { LuksHeader } from "../../encryption/luks-header.js";
import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import type { Secret } from "../../secret/secret.js";
import { secretFile } from "../../secret/secret-file.js";
import { QCOW2_HEADER_AREA, type Qcow2Header, readQcow2Header } from "./qcow2-header.js";
import { withLuksContainer } from "./qcow2-luks.js";
import type { FormatRequest } from "../storage-backend.js";
import { volumeUnwritable } from "../volume-error.js";
import type { VolumeFile } from "../volume-file.js";
import { isZero } from "../zero.js";

const PIECE = 65_536;

/** Makes the encrypted image that takes an empty one's place. */
export class Qcow2Creator {
  constructor(
    private readonly runner: CommandRunner,
    private readonly formatter: LuksFormatter,
  ) {}

  /**
   * Makes `target`, an empty file, an encrypted qcow2 image like `model`: same size, same options, same backing file,
   * which nothing here opens. Preallocation is no option of an image, and is lost. Returns after QEMU opened it with the passphrase and found it whole.
   * @throws VOLUME_WRITE_FAILED, VOLUME_UNSUPPORTED
   */
  async create(target: VolumeFile, model: Qcow2Header, request: FormatRequest): Promise<LuksHeader> {
    const { uuid, spec, passphrase } = request;
    await this.createPlain(target, model);
    const luks = await this.formatter.makeHeader(uuid, spec, passphrase);
    const plain = await target.read(0, await target.length());
    const answer = readQcow2Header(plain.subarray(0, QCOW2_HEADER_AREA));
    const encrypted =
      answer.kind === "qcow2" ? withLuksContainer(plain, answer.header, luks, model.backing) : undefined;
    if (encrypted === undefined) throw unsupported(target.name, model);
    await writeChanges(target, plain, encrypted);
    await this.check(target, passphrase);
    return luks.header;
  }

  private async createPlain(target: VolumeFile, model: Qcow2Header): Promise<void> {
    try {
      await this.runner.run({
        tool: "qemu-img",
        args: [
          ...["create", "-q", "-f", "qcow2", "-o", optionsOf(model)],
          ...["--", "/proc/self/fd/3", String(model.size)],
        ],
        fds: [target.fd],
      });
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError) || thrown.code !== "TOOL_FAILED") throw thrown;
      throw volumeUnwritable(target.name, thrown.why ?? thrown.message);
    }
  }

  /** QEMU itself opens a keyslot, reads all tables and counts all clusters. */
  private async check(target: VolumeFile, passphrase: Secret): Promise<void> {
    using key = secretFile(passphrase);
    const encrypt = { format: "luks", "key-secret": "key" };
    const file = { driver: "file", filename: "/proc/self/fd/4" };
    // without `backing`, QEMU would open whatever the header names
    const node = { driver: "qcow2", encrypt, file, backing: null };
    await this.runner.run({
      tool: "qemu-img",
      args: [
        ...["check", "-q", "--object", "secret,id=key,file=/proc/self/fd/3"],
        ...["--", `json:${JSON.stringify(node)}`],
      ],
      fds: [key.fd, target.fd],
    });
  }
}

/** The options that an image itself records, for `qemu-img create -o`; those of newer QEMU only where they are used. */
function optionsOf(image: Qcow2Header): string {
  const options = [`cluster_size=${image.clusterSize}`, `compat=${image.version === 2 ? "0.10" : "1.1"}`];
  if (image.version === 3) {
    options.push(
      `refcount_bits=${image.refcountBits}`,
      `lazy_refcounts=${image.lazyRefcounts ? "on" : "off"}`,
    );
  }
  if (image.extendedL2) options.push("extended_l2=on");
  if (image.compression !== "zlib") options.push(`compression_type=${image.compression}`);
  return options.join(",");
}

/** Writes the pieces in which `after` differs from `before`, so that the rest stays a hole; and the last, for the length. */
async function writeChanges(file: VolumeFile, before: Buffer, after: Buffer): Promise<void> {
  for (let at = 0; at < after.length; at += PIECE) {
    const piece = after.subarray(at, at + PIECE);
    const old = before.subarray(at, at + PIECE);
    const isSame = piece.subarray(0, old.length).equals(old) && isZero(piece.subarray(old.length));
    if (!isSame || at + PIECE >= after.length) await file.write(at, piece);
  }
}

function unsupported(path: string, { clusterSize, refcountBits, backing }: Qcow2Header): LuksmithError {
  const name = backing === undefined ? "" : ` and a backing file name of ${backing.name.length} bytes`;
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `cannot format volume ${path}`,
    why: `a qcow2 image with clusters of ${clusterSize} bytes, refcounts of ${refcountBits} bits${name} has no room for a LUKS header`,
    hint: "create the image with the default cluster size",
  });
}
