import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Plugin, rolldown } from "rolldown";

/** In the checkout, which User-Mode Linux sees: of /tmp it sees nothing. */
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/luksmith-bundles", import.meta.url));

/**
 * A program of the tests as one plain file: it starts many times as fast as from its sources, which counts where it
 * starts often, or in User-Mode Linux. Its modules still find the files beside their sources.
 */
export class Bundle implements Disposable {
  private constructor(
    /** Called as its source is, but for the extension: `.mjs`. */
    readonly file: string,
    private readonly directory: string,
  ) {}

  /** @param source a path */
  static async of(source: string): Promise<Bundle> {
    mkdirSync(CACHE, { recursive: true });
    const directory = mkdtempSync(`${CACHE}/`);
    const file = join(directory, basename(source).replace(/\.ts$/, ".mjs"));
    await using build = await rolldown({
      input: source,
      platform: "node",
      transform: { target: "node20" },
      plugins: [AT_ITS_SOURCE],
    });
    await build.write({ file, format: "esm", codeSplitting: false });
    return new Bundle(file, directory);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

const AT_ITS_SOURCE: Plugin = {
  name: "at-its-source",
  transform: (code, id) =>
    code.includes("import.meta.url")
      ? { code: code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(id).href)) }
      : undefined,
};
