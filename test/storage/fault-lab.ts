import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { afterAll } from "vitest";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest } from "../../src/storage/storage-backend.js";
import type { FileVolume } from "../contract/storage-backend.contract.js";
import { type ImageFormat, SPEC, Workshop } from "./workshop.js";

const SCRIPT = fileURLToPath(new URL("./format-process.ts", import.meta.url));

/** The script as one plain file, which starts fast; made once for each test file. */
let bundle: Promise<{ readonly directory: string; readonly file: string }> | undefined;
afterAll(async () => {
  if (bundle !== undefined) rmSync((await bundle).directory, { recursive: true });
});

/** An empty volume, and processes that format it under one key while strace lets things go wrong. */
export class FaultLab extends Workshop {
  readonly volume: FileVolume;
  readonly request: FormatRequest;
  /** Where a qcow2 image is made before it takes its place. */
  readonly temporary: string;
  readonly #passphraseFile = join(this.root, "passphrase");

  constructor(format: ImageFormat) {
    super(format);
    this.volume = this.makeEmpty("disk.img");
    const uuid = newKeyUuid();
    this.request = { volume: this.volume, uuid, spec: SPEC, passphrase: Secret.randomPassphrase() };
    this.temporary = join(this.directory, `.luksmith-${uuid}.tmp`);
    this.request.passphrase.use((bytes) => writeFileSync(this.#passphraseFile, bytes, { mode: 0o600 }));
  }

  /**
   * createEncrypted in another process. `injections` are strace's: what happens at the n-th of these system calls that
   * the process (not its children) makes on the volume: `pwrite64:signal=KILL:when=2`.
   * @returns `done`, `killed`, or the code of the error
   */
  async formatElsewhere(...injections: string[]): Promise<string> {
    const { volume, request, lockDirectory } = this;
    const node = [process.execPath, (await (bundle ??= makeBundle())).file];
    const args = [volume.format, volume.path, request.uuid, this.#passphraseFile, lockDirectory];
    const watched = [volume.path, this.temporary, this.directory].flatMap((path) => ["-P", path]);
    const faults = injections.flatMap((injection) => ["-e", `inject=${injection}`]);
    const names = injections.map((injection) => injection.split(":", 1)[0]).join(",");
    const strace = [
      "strace",
      "-f",
      "-b",
      "execve",
      "-o",
      "/dev/null",
      "-e",
      `trace=${names}`,
      ...watched,
      ...faults,
    ];
    const [tool = "", ...rest] = [...(injections.length > 0 ? strace : []), ...node, ...args];
    // one thread makes all file calls, so that strace counts them one after the other
    const env = { ...process.env, UV_THREADPOOL_SIZE: "1" };
    const child = spawn(tool, rest, { env, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (_code, signal) => resolve(signal === "SIGKILL" ? "killed" : output.trim()));
    });
  }

  override [Symbol.dispose](): void {
    this.request.passphrase.dispose();
    super[Symbol.dispose]();
  }
}

async function makeBundle() {
  const directory = mkdtempSync(join(tmpdir(), "luksmith-bundle-"));
  const file = join(directory, "format-process.mjs");
  const build = await rolldown({ input: SCRIPT, platform: "node", transform: { target: "node20" } });
  await build.write({ file, format: "esm", codeSplitting: false });
  return { directory, file };
}
