import { readFileSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../error/luksmith-error.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { PLUGIN_ROOT } from "../../manifest/load.js";

export interface Page {
  readonly type: string;
  readonly content: Buffer;
}

const PAGES = {
  "/": { file: "index.html", type: "text/html; charset=utf-8" },
  "/app.js": { file: "app.js", type: "text/javascript; charset=utf-8" },
  "/app.css": { file: "app.css", type: "text/css; charset=utf-8" },
} as const;

/** What is shown at each path, and nothing else is: no request reaches a file. @throws UI_UNAVAILABLE */
export function loadPages(directory = join(PLUGIN_ROOT, "dist/ui")): ReadonlyMap<string, Page> {
  try {
    return new Map(
      Object.entries(PAGES).map(([path, { file, type }]) => [
        path,
        { type, content: readFileSync(join(directory, file)) },
      ]),
    );
  } catch (thrown) {
    throw new LuksmithError("UI_UNAVAILABLE", {
      what: "cannot show the page",
      why: systemErrorOf(thrown)?.text ?? String(thrown),
      hint: "install luksmith again",
      cause: thrown,
    });
  }
}
