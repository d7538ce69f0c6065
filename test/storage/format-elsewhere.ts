import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import type { FormatRequest } from "../../src/storage/storage-backend.js";
import type { StorageFixture } from "../contract/storage-fixture.js";
import { Bundle } from "../lab/bundle.js";
import type { FormatOrder } from "./format-process.js";

const SCRIPT = fileURLToPath(new URL("./format-process.ts", import.meta.url));

/** Made once for each test file. */
let bundle: Promise<Bundle> | undefined;
afterAll(async () => (await bundle)?.[Symbol.dispose]());

export interface FormatOptions {
  readonly killedBefore?: number;
  /** A program and its arguments that starts the process: strace. */
  readonly under?: readonly string[];
}

/** Processes that format volumes of a fixture, and die or fail over it. */
export class FormatProcess implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "luksmith-passphrase-"));

  constructor(private readonly fixture: Pick<StorageFixture, "backend" | "lockDirectory" | "settings">) {}

  /** @returns `done`, `killed`, or the code of the error */
  async run(request: FormatRequest, { under = [], killedBefore }: FormatOptions = {}): Promise<string> {
    const passphraseFile = join(this.#directory, "passphrase");
    request.passphrase.use((bytes) => writeFileSync(passphraseFile, bytes, { mode: 0o600 }));
    const order: FormatOrder = {
      type: this.fixture.backend.type,
      volume: request.volume,
      uuid: request.uuid,
      spec: request.spec,
      passphraseFile,
      lockDirectory: this.fixture.lockDirectory,
      settings: this.fixture.settings,
      ...(killedBefore === undefined ? {} : { killedBefore }),
    };
    const { file } = await (bundle ??= Bundle.of(SCRIPT));
    const [tool, ...args] = [...under, process.execPath, file, JSON.stringify(order)] as const;
    // one thread makes all file calls, so that strace counts them one after the other
    const env = { ...process.env, UV_THREADPOOL_SIZE: "1" };
    const child = spawn(tool, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (_code, signal) => resolve(signal === "SIGKILL" ? "killed" : output.trim()));
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true });
  }
}
