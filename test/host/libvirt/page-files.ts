import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What Cockpit's page is installed from, below dist/ui. */
export const PAGE_FILES = [
  "app.css",
  "app.js",
  "third-party-licenses.txt",
  "cockpit/index.html",
  "cockpit/manifest.json",
];

/** They are in a tree that has nothing else, each with words of its own. */
export async function makePageFiles(pluginRoot: string): Promise<void> {
  await mkdir(join(pluginRoot, "dist/ui/cockpit"), { recursive: true });
  for (const file of PAGE_FILES) await writeFile(join(pluginRoot, "dist/ui", file), `${file} of the tree\n`);
}
