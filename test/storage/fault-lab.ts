import { join } from "node:path";
import { expect } from "vitest";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest } from "../../src/storage/storage-backend.js";
import { cryptsetupOpens } from "./cryptsetup.js";
import { FormatProcess } from "./format-elsewhere.js";
import { type FileVolume, type ImageFormat, qemuIo, SPEC, Workshop } from "./workshop.js";

/** An empty volume, and processes that format it under one key while strace lets things go wrong. */
export class FaultLab extends Workshop {
  readonly volume: FileVolume;
  readonly request: FormatRequest;
  /** Where a qcow2 image is made before it takes its place. */
  readonly temporary: string;
  readonly #process = new FormatProcess(this);

  /** @param encryption the format of the LUKS container */
  constructor(format: ImageFormat, encryption: LuksSpec["format"] = "luks") {
    super(format);
    this.volume = this.makeEmpty("disk.img");
    const uuid = newKeyUuid();
    const spec = { ...SPEC, format: encryption };
    this.request = { volume: this.volume, uuid, spec, passphrase: Secret.randomPassphrase() };
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

  /** Asserts with cryptsetup alone, or with QEMU for an image format, that the passphrase opens the volume. */
  expectOpens(): void {
    const { backend, volume, request } = this;
    const commands = ["write -P 3 0 64k", "read -P 3 0 64k"];
    if (this.format === "qcow2") qemuIo(backend.qemuNode(volume, "key"), commands, request.passphrase);
    else expect(cryptsetupOpens(this.bytes(volume), request.passphrase)).toBe(true);
  }

  override [Symbol.dispose](): void {
    this.request.passphrase.dispose();
    this.#process[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}
