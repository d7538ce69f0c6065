import { existsSync, lstatSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../../fs/atomic-file.js";
import { ifThere } from "../../fs/if-there.js";
import { removeLeftovers } from "../../fs/leftovers.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { loadManifest } from "../../manifest/load.js";
import type { PageChange } from "../host-adapter.js";
import { type InstallPlaces, isPackageTree } from "../install-places.js";
import { isCockpitEngine, madeDirectoriesOf, renderCockpitEngine } from "./cockpit-engine.js";

/** By whose first line a directory of ours is known: written first, removed last. */
const ENGINE = "engine.js";
/** By which Cockpit knows a page: written last, removed first. */
const MANIFEST = "manifest.json";
/** Our files, and where a tree has them below dist/ui. */
const SOURCES = {
  "index.html": "cockpit/index.html",
  "app.css": "app.css",
  "app.js": "app.js",
  "third-party-licenses.txt": "third-party-licenses.txt",
  [MANIFEST]: "cockpit/manifest.json",
};

type Found = "none" | "foreign" | { readonly engine: string };

/** The page in Cockpit, where this host has Cockpit. A package brings it in its own files, and nothing is to be done. */
export class CockpitPage {
  readonly #path: string;
  /** It and the directories above it that may be missing, innermost first. */
  readonly #directories: readonly string[];

  constructor(private readonly places: InstallPlaces) {
    // what is not from a package, by the Filesystem Hierarchy Standard; cockpit-bridge looks there first
    const local = join(places.root, "usr/local");
    const cockpit = join(local, "share/cockpit");
    this.#path = join(cockpit, "luksmith");
    this.#directories = [this.#path, cockpit, join(local, "share"), local];
  }

  /** A directory of somebody else stays as it is. @throws HOOK_NOT_INSTALLED: then the page is as it was */
  install(mode: "apply" | "dry-run"): PageChange | undefined {
    if (isPackageTree(this.places) || !existsSync(join(this.places.root, "usr/bin/cockpit-bridge"))) return;
    const path = this.#path;
    const found = this.#find();
    if (found === "foreign") return { path, change: "foreign" };
    const made = found === "none" ? this.#missing() : madeDirectoriesOf(found.engine);
    const texts = this.#texts(made);
    if ([...texts].every(([name, text]) => this.#read(name) === text)) return { path, change: "unchanged" };
    if (mode === "apply") this.#write(texts, made);
    return { path, change: found === "none" ? "installed" : "updated" };
  }

  /** Undefined where there is none of ours. @throws NOT_PERMITTED */
  uninstall(mode: "apply" | "dry-run"): PageChange | undefined {
    const found = this.#find();
    if (found === "none" || found === "foreign") return undefined;
    if (mode === "apply") {
      try {
        this.#remove(madeDirectoriesOf(found.engine));
      } catch (thrown) {
        throw this.#failed("NOT_PERMITTED", "remove", "run it as root", thrown);
      }
    }
    return { path: this.#path, change: "removed" };
  }

  #find(): Found {
    const stats = ifThere(() => lstatSync(this.#path));
    if (stats === undefined) return "none";
    if (!stats.isDirectory()) return "foreign";
    // an installation that was killed may have made it, and no more
    if (readdirSync(this.#path).length === 0) return "none";
    const engine = this.#read(ENGINE);
    return engine !== undefined && isCockpitEngine(engine) ? { engine } : "foreign";
  }

  /** A link is none of ours. */
  #read(name: string): string | undefined {
    const path = join(this.#path, name);
    return ifThere(() => lstatSync(path))?.isFile() ? readFileSync(path, "utf8") : undefined;
  }

  #missing(): number {
    return this.#directories.filter((directory) => !existsSync(directory)).length;
  }

  /** Of all files, in the order in which they are to be written. @throws HOOK_NOT_INSTALLED for a tree without */
  #texts(madeDirectories: number): ReadonlyMap<string, string> {
    const { node, pluginRoot } = this.places;
    const { version } = loadManifest(join(pluginRoot, "plugin.json"));
    const engine = { version, node, cli: join(pluginRoot, "dist/cli/luksmith.js") };
    try {
      const files = Object.entries(SOURCES).map(
        ([name, source]) => [name, readFileSync(join(pluginRoot, "dist/ui", source), "utf8")] as const,
      );
      return new Map([[ENGINE, renderCockpitEngine(engine, madeDirectories)], ...files]);
    } catch (thrown) {
      throw this.#failed(
        "HOOK_NOT_INSTALLED",
        "make",
        "in a source tree, make it with: npm run build",
        thrown,
      );
    }
  }

  #write(texts: ReadonlyMap<string, string>, madeDirectories: number): void {
    const before = new Map([...texts.keys()].map((name) => [name, this.#read(name)]));
    try {
      makeDirectory(this.#path, 0o755);
      for (const [name, text] of texts) replaceFile(join(this.#path, name), Buffer.from(text), 0o644);
    } catch (thrown) {
      tryTo(() => this.#restore(before, madeDirectories));
      throw this.#failed(
        "HOOK_NOT_INSTALLED",
        "write",
        "the hook is installed and works; run this again",
        thrown,
      );
    }
    removeLeftovers(this.#path);
  }

  #restore(texts: ReadonlyMap<string, string | undefined>, madeDirectories: number): void {
    if (texts.get(ENGINE) === undefined) {
      this.#remove(madeDirectories);
      return;
    }
    for (const [name, text] of texts) {
      const path = join(this.#path, name);
      if (text === undefined) removeFile(path);
      else replaceFile(path, Buffer.from(text), 0o644);
    }
  }

  #remove(madeDirectories: number): void {
    for (const name of [...Object.keys(SOURCES).reverse(), ENGINE]) removeFile(join(this.#path, name));
    ifThere(() => removeLeftovers(this.#path));
    // its own in any case: nobody else has a use for an empty one. Those that somebody else uses by now stay
    for (const directory of this.#directories.slice(0, Math.max(1, madeDirectories)))
      tryTo(() => rmdirSync(directory));
  }

  #failed(
    code: "HOOK_NOT_INSTALLED" | "NOT_PERMITTED",
    verb: string,
    hint: string,
    thrown: unknown,
  ): LuksmithError {
    return new LuksmithError(code, {
      what: `cannot ${verb} luksmith's page in Cockpit, ${this.#path}`,
      why: systemErrorOf(thrown)?.text ?? String(thrown),
      hint,
      cause: thrown,
    });
  }
}

function tryTo(action: () => void): void {
  try {
    action();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
  }
}
