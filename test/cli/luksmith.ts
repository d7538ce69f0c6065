import { spawnSync, type StdioOptions } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { rolldown } from "rolldown";
import { afterAll } from "vitest";

export interface Call {
  readonly stdio?: StdioOptions;
  readonly input?: string;
  /** The command takes itself for another user's than root. */
  readonly as?: "nobody";
}

const AS_NOBODY = ["--import", "data:text/javascript,process.getuid = () => 65534"];

// as deep below the checkout as the sources are, which look for plugin.json from where they stand
const directory = mkdtempSync(resolve("node_modules/.luksmith-test-"));
afterAll(() => rmSync(directory, { recursive: true }));
await build(directory);

/** JavaScript of what the sources are now, which starts ten times faster than they do; in chunks, as in dist/. */
async function build(dir: string): Promise<void> {
  const input = { luksmith: resolve("src/cli/luksmith.ts") };
  const bundle = await rolldown({ input, platform: "node", transform: { target: "node20" } });
  const names = { entryFileNames: "[name].mjs", chunkFileNames: "[name]-[hash].mjs" };
  await bundle.write({ dir, format: "esm", ...names });
  await bundle.close();
}

/** How the command line is called. */
export function commandLine(args: readonly string[]): string[] {
  return [process.execPath, join(directory, "luksmith.mjs"), ...args];
}

/** Runs `luksmith ARGS` as a process of its own. */
export function luksmith(args: readonly string[], { as, ...call }: Call = {}) {
  const [node = "", ...rest] = commandLine(args);
  const { status, stdout, stderr } = spawnSync(node, [...(as ? AS_NOBODY : []), ...rest], {
    encoding: "utf8",
    input: "",
    ...call,
  });
  return { status, stdout, stderr };
}
