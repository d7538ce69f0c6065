import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A block device on a sparse file of its own. */
export class LoopDevice implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "luksmith-loop-"));
  readonly file = join(this.#directory, "device");
  readonly path: string;

  /** `size` in bytes. */
  constructor(readonly size: number) {
    writeFileSync(this.file, "");
    truncateSync(this.file, size);
    this.path = execFileSync("losetup", ["--find", "--show", this.file], { encoding: "utf8" }).trim();
  }

  /** A device that is still open goes with its last user. */
  [Symbol.dispose](): void {
    execFileSync("losetup", ["--detach", this.path]);
    rmSync(this.#directory, { recursive: true });
  }
}
