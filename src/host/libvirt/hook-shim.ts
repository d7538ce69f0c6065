import { existsSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { lstat, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errnoOf, LuksmithError } from "../../error/luksmith-error.js";
import { makeDirectory, removeFile, replaceFile } from "../../fs/atomic-file.js";
import { systemErrorOf } from "../../fs/system-error.js";
import { loadManifest } from "../../manifest/load.js";
import { ARRIVALS_DIRECTORY } from "../../migration/arrivals.js";
import type { InstallResult, Registration } from "../host-adapter.js";
import { type InstallPlaces, SYSTEM } from "../install-places.js";
import { reloadCommand, reloadDaemon } from "./daemon.js";
import { isShim, madeDirectoriesOf, renderShim } from "./shim-script.js";

const MODE = 0o755;

interface Installed {
  readonly script: string;
  readonly executable: boolean;
}

/** Our file among libvirt's qemu hooks; a hook called `qemu` and other files in `qemu.d` are none of our business. */
export class HookShim {
  readonly #path: string;
  /** The directories above it that may be missing, innermost first. */
  readonly #directories: readonly string[];

  constructor(private readonly places: InstallPlaces = SYSTEM) {
    const libvirt = join(places.root, "etc/libvirt");
    const hooks = join(libvirt, "hooks");
    this.#directories = [join(hooks, "qemu.d"), hooks, libvirt];
    this.#path = join(hooks, "qemu.d", "luksmith");
  }

  async registration(): Promise<Registration> {
    const path = this.#path;
    const found = await this.#find();
    if (found === "absent" || found === "foreign") return { kind: found, path };
    return { kind: this.#isCurrent(found) ? "registered" : "outdated", path };
  }

  /** @throws HOOK_FOREIGN, HOOK_NOT_INSTALLED: then everything is as it was */
  async install(mode: "apply" | "dry-run"): Promise<InstallResult> {
    const path = this.#path;
    const found = await this.#find();
    if (found === "foreign") throw this.#foreign();
    if (found !== "absent" && this.#isCurrent(found))
      return { path, change: "unchanged", restart: undefined };
    const restart = found === "absent" || !found.executable ? reloadCommand(this.places.root) : undefined;
    const change = found === "absent" ? "installed" : "updated";
    if (mode === "dry-run") return { path, change, restart };
    this.#write(found);
    const reloaded = restart === undefined ? undefined : reloadDaemon(this.places.root);
    return reloaded === undefined
      ? { path, change, restart }
      : { path, change, restart: undefined, reloaded };
  }

  /** Takes the file and the directories made for it away. @throws HOOK_FOREIGN, NOT_PERMITTED */
  async uninstall(mode: "apply" | "dry-run"): Promise<InstallResult> {
    const path = this.#path;
    const found = await this.#find();
    if (found === "absent") return { path, change: "unchanged", restart: undefined };
    if (found === "foreign") throw this.#foreign();
    if (mode === "apply") this.#remove(madeDirectoriesOf(found.script));
    // libvirtd copes with a hook that is gone
    return { path, change: "removed", restart: undefined };
  }

  async #find(): Promise<Installed | "absent" | "foreign"> {
    try {
      const stat = await lstat(this.#path);
      if (!stat.isFile()) return "foreign";
      const script = await readFile(this.#path, "utf8");
      return isShim(script) ? { script, executable: (stat.mode & 0o777) === MODE } : "foreign";
    } catch (thrown) {
      if (errnoOf(thrown) === "ENOENT") return "absent";
      throw thrown;
    }
  }

  #isCurrent({ script, executable }: Installed): boolean {
    return executable && script === this.#render(madeDirectoriesOf(script));
  }

  #render(madeDirectories: number): string {
    const { node, pluginRoot } = this.places;
    const { version, hooks } = loadManifest(join(pluginRoot, "plugin.json"));
    const absolute = {
      "pre-start": join(pluginRoot, hooks["pre-start"]),
      "post-stop": join(pluginRoot, hooks["post-stop"]),
      "pre-migrate": join(pluginRoot, hooks["pre-migrate"]),
    };
    return renderShim({ version, node, hooks: absolute, arrivals: ARRIVALS_DIRECTORY }, madeDirectories);
  }

  #write(found: Installed | "absent"): void {
    const missing = this.#directories.filter((directory) => !existsSync(directory)).length;
    const script = this.#render(found === "absent" ? missing : madeDirectoriesOf(found.script));
    // written outside qemu.d: libvirt runs every executable file in there, a half-written one too
    const staging = join(dirname(dirname(this.#path)), ".luksmith-shim");
    try {
      makeDirectory(dirname(this.#path), MODE);
      replaceFile(staging, Buffer.from(script), MODE);
      renameSync(staging, this.#path);
    } catch (thrown) {
      tryTo(() => rmSync(staging));
      removeDirectories(this.#directories.slice(0, missing));
      throw new LuksmithError("HOOK_NOT_INSTALLED", {
        what: `cannot write libvirt's hook ${this.#path}`,
        why: systemErrorOf(thrown)?.text ?? String(thrown),
        hint: "run it as root",
        cause: thrown,
      });
    }
  }

  #remove(madeDirectories: number): void {
    try {
      removeFile(this.#path);
    } catch (thrown) {
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot remove libvirt's hook ${this.#path}`,
        why: systemErrorOf(thrown)?.text ?? String(thrown),
        hint: "run it as root",
        cause: thrown,
      });
    }
    removeDirectories(this.#directories.slice(0, madeDirectories));
  }

  #foreign(): LuksmithError {
    return new LuksmithError("HOOK_FOREIGN", {
      what: `${this.#path} is not luksmith's`,
      why: "it lacks the mark that luksmith puts into its file",
      hint: "look into it, and move it away if nobody needs it",
    });
  }
}

/** Innermost first; stops at one that somebody else uses by now. */
function removeDirectories(directories: readonly string[]): void {
  tryTo(() => {
    for (const directory of directories) rmdirSync(directory);
  });
}

function tryTo(action: () => void): void {
  try {
    action();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
  }
}
