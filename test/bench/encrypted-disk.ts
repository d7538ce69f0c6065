import { PAYLOAD_OFFSET } from "../../src/encryption/luks-header.js";
import { Secret } from "../../src/secret/secret.js";
import { type MemoryFile, secretFile } from "../../src/secret/secret-file.js";
import type { Opening } from "./io-job.js";
import { fill } from "./loop-disk.js";
import type { Stock, StockVolume } from "./stock.js";

/** How the host's kernel is asked: QEMU's `aio`, and whether its page cache is left out (`cache.direct`). */
export interface Asking {
  readonly aio: "native" | "io_uring" | "threads";
  readonly direct: "on" | "off";
}

/** libvirt's `cache='none' io='native'`. */
const USUAL: Asking = { aio: "native", direct: "on" };

/** A volume that Luksmith has encrypted, and what QEMU needs to open it. */
export class EncryptedDisk implements Disposable {
  private constructor(
    private readonly volume: StockVolume,
    /** Bytes that the guest sees. */
    readonly size: number,
    private readonly key: MemoryFile,
  ) {}

  /**
   * A raw volume gets all its blocks, so that no round pays for their allocation.
   * @param volume has room for `size` bytes that the guest sees
   */
  static async make(stock: Stock, volume: StockVolume, size: number): Promise<EncryptedDisk> {
    using passphrase = Secret.randomPassphrase();
    await stock.header(volume, passphrase);
    if (volume.format === "raw") fill(volume.path, PAYLOAD_OFFSET, size);
    return new EncryptedDisk(volume, size, secretFile(passphrase));
  }

  /** The passphrase's. */
  get fd(): number {
    return this.key.fd;
  }

  /** By QEMU's own LUKS; `secret` is the name of the `-object secret`. */
  native(asking = USUAL, secret = "key"): Opening {
    const format = {
      raw: `driver=luks,key-secret=${secret}`,
      qcow2: `driver=qcow2,encrypt.format=luks,encrypt.key-secret=${secret}`,
    }[this.volume.format];
    return { image: `${format},${this.#file(asking)}`, key: this.fd };
  }

  /** The same bytes of a raw volume as they are. */
  plain(asking = USUAL): Opening {
    return { image: `driver=raw,offset=${PAYLOAD_OFFSET},size=${this.size},${this.#file(asking)}` };
  }

  #file({ aio, direct }: Asking): string {
    const driver = this.volume.kind === "block" ? "host_device" : "file";
    return `file.driver=${driver},file.filename=${this.volume.path},file.aio=${aio},file.cache.direct=${direct}`;
  }

  [Symbol.dispose](): void {
    this.key[Symbol.dispose]();
  }
}
