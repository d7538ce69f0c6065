import { join } from "node:path";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest } from "../../src/storage/storage-backend.js";
import { FormatProcess } from "./format-elsewhere.js";
import { type FileVolume, type ImageFormat, SPEC, Workshop } from "./workshop.js";

/** An empty volume, and processes that format it under one key while strace lets things go wrong. */
export class FaultLab extends Workshop {
  readonly volume: FileVolume;
  readonly request: FormatRequest;
  /** Where a qcow2 image is made before it takes its place. */
  readonly temporary: string;
  readonly #process = new FormatProcess(this);

  constructor(format: ImageFormat) {
    super(format);
    this.volume = this.makeEmpty("disk.img");
    const uuid = newKeyUuid();
    this.request = { volume: this.volume, uuid, spec: SPEC, passphrase: Secret.randomPassphrase() };
    this.temporary = join(this.directory, `.luksmith-${uuid}.tmp`);
  }

  /**
   * createEncrypted in another process. `injections` are strace's: what happens at the n-th of these system calls that
   * the process (not its children) makes on the volume: `pwrite64:signal=KILL:when=2`.
   * @returns `done`, `killed`, or the code of the error
   */
  async formatElsewhere(...injections: string[]): Promise<string> {
    if (injections.length === 0) return this.#process.run(this.request);
    const watched = [this.volume.path, this.temporary, this.directory].flatMap((path) => ["-P", path]);
    const faults = injections.flatMap((injection) => ["-e", `inject=${injection}`]);
    const names = injections.map((injection) => injection.split(":", 1)[0]).join(",");
    const strace = ["strace", "-f", "-b", "execve", "-o", "/dev/null", "-e", `trace=${names}`];
    return this.#process.run(this.request, { under: [...strace, ...watched, ...faults] });
  }

  override [Symbol.dispose](): void {
    this.request.passphrase.dispose();
    this.#process[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}
