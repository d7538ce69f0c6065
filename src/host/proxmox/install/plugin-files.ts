import { existsSync, readFileSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf, LuksmithError } from "../../../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../../../fs/atomic-file.js";
import { ifThere } from "../../../fs/if-there.js";
import { removeLeftovers } from "../../../fs/leftovers.js";
import { systemErrorOf } from "../../../fs/system-error.js";
import type { InstallPlaces } from "../../install-places.js";
import { madeDirectoriesOf, renderPaths } from "./paths-module.js";
import {
  installedModules,
  lookAt,
  moduleDirectories,
  modulesOf,
  PATHS,
  PERL_LIBRARY,
  PLUGIN,
} from "./perl-modules.js";

/** How what is in Perl's library compares with what a tree brings. */
export type FilesState =
  { readonly kind: "current" | "outdated" | "absent" } | { readonly kind: "foreign"; readonly path: string };

/**
 * The storage plugin and its modules in Perl's library. The plugin file comes last and goes first: Proxmox VE loads it
 * wherever it finds it, and it must find its modules.
 */
export class PluginFiles {
  readonly #library: string;
  readonly path: string;
  /** The only directory that Proxmox VE may lack, since it is for plugins of others. */
  readonly #custom: string;

  /** @param packaged they are the Debian package's, whose module of paths is as it comes */
  constructor(
    private readonly places: InstallPlaces,
    private readonly packaged: boolean,
  ) {
    this.#library = join(places.root, PERL_LIBRARY);
    this.path = join(this.#library, PLUGIN);
    this.#custom = dirname(this.path);
  }

  /** @throws HOOK_NOT_INSTALLED for a tree that lacks the modules */
  state(): FilesState {
    const wanted = this.#wanted(this.#madeDirectories());
    const names = new Set([...wanted.keys(), ...installedModules(this.#library)]);
    const found = [...names].map((name) => ({ name, at: lookAt(this.#library, name) }));
    const foreign = found.find(({ at }) => at === "foreign");
    if (foreign !== undefined) return { kind: "foreign", path: join(this.#library, foreign.name) };
    if (!existsSync(this.path)) return { kind: "absent" };
    const isCurrent = found.every(({ name, at }) => typeof at === "object" && at.text === wanted.get(name));
    return { kind: isCurrent ? "current" : "outdated" };
  }

  /** Over files of ours only, which `state` tells. @throws HOOK_NOT_INSTALLED: then everything is as it was */
  write(): void {
    const wanted = this.#wanted(Math.max(this.#madeDirectories(), existsSync(this.#custom) ? 0 : 1));
    const hadDirectory = existsSync(this.#custom);
    const undo: (() => void)[] = [];
    try {
      for (const [name, text] of wanted) {
        const path = join(this.#library, name);
        undo.push(asItWas(path));
        makeDirectory(dirname(path), 0o755);
        replaceFile(path, Buffer.from(text), 0o644);
      }
    } catch (thrown) {
      for (const action of undo.reverse()) tryTo(action);
      if (!hadDirectory) removeEmpty([this.#custom]);
      this.#tidy();
      throw this.#failed("HOOK_NOT_INSTALLED", "write", thrown);
    }
    const stale = installedModules(this.#library).filter((name) => !wanted.has(name));
    for (const name of stale) removeFile(join(this.#library, name));
    this.#tidy();
  }

  /** Of every version; idempotent. @throws NOT_PERMITTED */
  remove(): void {
    const made = this.#madeDirectories();
    try {
      removeFile(this.path);
      this.#tidy();
      if (made > 0) removeEmpty([this.#custom]);
      // the one that tells which directory was made for us is the last
      const modules = installedModules(this.#library).filter((name) => name !== PATHS);
      for (const name of [...modules, PATHS]) ifThere(() => removeFile(join(this.#library, name)));
      this.#tidy();
    } catch (thrown) {
      throw this.#failed("NOT_PERMITTED", "remove", thrown);
    }
  }

  #wanted(madeDirectories: number): ReadonlyMap<string, string> {
    const modules = new Map(modulesOf(this.places.pluginRoot));
    if (this.packaged) return modules;
    return modules.set(PATHS, renderPaths(modules.get(PATHS) ?? "", this.places, madeDirectories));
  }

  #madeDirectories(): number {
    const paths = lookAt(this.#library, PATHS);
    return typeof paths === "object" ? madeDirectoriesOf(paths.text) : 0;
  }

  /** Takes away what killed writes left, and directories of ours that are empty. */
  #tidy(): void {
    const ours = moduleDirectories(this.#library).map((directory) => join(this.#library, directory));
    for (const directory of [this.#custom, ...ours]) ifThere(() => removeLeftovers(directory));
    removeEmpty(ours);
  }

  #failed(code: "HOOK_NOT_INSTALLED" | "NOT_PERMITTED", verb: string, thrown: unknown): LuksmithError {
    return new LuksmithError(code, {
      what: `cannot ${verb} Proxmox VE's storage plugin ${this.path}`,
      why: systemErrorOf(thrown)?.text ?? String(thrown),
      hint: "run it as root",
      cause: thrown,
    });
  }
}

/** What puts a file back as it is now. */
function asItWas(path: string): () => void {
  const bytes = ifThere(() => readFileSync(path));
  return bytes === undefined ? () => removeFile(path) : () => replaceFile(path, bytes, 0o644);
}

/** Innermost first; those that somebody else uses stay. */
function removeEmpty(directories: readonly string[]): void {
  for (const directory of directories) tryTo(() => rmdirSync(directory));
}

function tryTo(action: () => void): void {
  try {
    action();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
  }
}
