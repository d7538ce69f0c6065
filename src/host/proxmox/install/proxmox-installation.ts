import { existsSync, lstatSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import type { CommandRunner } from "../../../exec/command-runner.js";
import type { InstallResult, ReaperRegistration, Registration } from "../../host-adapter.js";
import { type InstallPlaces, isPackageTree, SYSTEM } from "../../install-places.js";
import { ReapTimer } from "../../reap-timer.js";
import { reloadCommand, reloadDaemons } from "./api-daemons.js";
import { isOfPackage, PACKAGE_TIMER } from "./package-owner.js";
import { PERL_LIBRARY } from "./perl-modules.js";
import { PluginFiles } from "./plugin-files.js";
import { refuseNeeded } from "./still-needed.js";

const UNITS = "etc/systemd/system";

/**
 * The storage plugin and the reap timer on a node of Proxmox VE. Where the Debian package brought them, they are dpkg's:
 * they can be looked at, and only dpkg changes them.
 */
export class ProxmoxInstallation {
  readonly #files: PluginFiles;
  readonly #timer: ReapTimer;
  /** Whose code this is, and whose files the node has. */
  readonly #isPackage: boolean;

  constructor(
    private readonly runner: CommandRunner,
    private readonly places: InstallPlaces = SYSTEM,
  ) {
    this.#isPackage = isPackageTree(places);
    this.#files = new PluginFiles(places, this.#isPackage);
    this.#timer = new ReapTimer("proxmox", places, runner);
  }

  registration(): Promise<Registration> {
    const { path } = this.#files;
    if (this.#isPackage !== this.#isPackaged() && existsSync(path))
      return Promise.resolve({ kind: "foreign", path });
    const state = this.#files.state();
    if (state.kind === "foreign") return Promise.resolve(state);
    return Promise.resolve({ kind: state.kind === "current" ? "registered" : state.kind, path });
  }

  reaperRegistration(): ReaperRegistration {
    if (!this.#isPackage) return this.#timer.registration();
    const path = join(this.places.root, PACKAGE_TIMER);
    const link = join(this.places.root, UNITS, "timers.target.wants/luksmith-reap.timer");
    const isEnabled = existsSync(path) && lstatSync(link, { throwIfNoEntry: false }) !== undefined;
    return { kind: isEnabled ? "registered" : "absent", path };
  }

  /** @throws HOOK_FOREIGN, HOOK_NOT_INSTALLED: then the plugin is as it was */
  async install(mode: "apply" | "dry-run"): Promise<InstallResult> {
    const { path } = this.#files;
    this.#requireProxmox();
    if (this.#isPackage || this.#isPackaged()) return this.#asPackaged("install");
    this.#timer.refuseForeign();
    const { kind } = this.#requireOurs();
    const isNew = kind === "absent";
    const change = kind === "current" ? "unchanged" : isNew ? "installed" : "updated";
    if (change !== "unchanged" && mode === "apply") this.#files.write();
    return this.#withTimer({ path, change, ...(await this.#reload(change, mode)) }, mode);
  }

  /** @throws HOOK_FOREIGN, HOOK_IN_USE, NOT_PERMITTED */
  async uninstall(
    mode: "apply" | "dry-run",
    whenNeeded: "refuse" | "go on" = "refuse",
  ): Promise<InstallResult> {
    const { path } = this.#files;
    if (this.#isPackage || this.#isPackaged()) return this.#asPackaged("uninstall");
    this.#timer.refuseForeign();
    this.#requireOurs();
    const change = existsSync(path) ? "removed" : "unchanged";
    if (change === "removed" && whenNeeded === "refuse") await refuseNeeded(this.runner, this.places);
    // modules may be left of an installation that was killed
    if (mode === "apply") this.#files.remove();
    const timer = await this.#timer.uninstall(mode);
    const result = { path, change, ...(await this.#reload(change, mode)) } as const;
    if (timer === "unchanged") return result;
    return { ...result, reaper: { kind: "timer", path: this.#timer.path, change: timer } };
  }

  async #withTimer(result: InstallResult, mode: "apply" | "dry-run"): Promise<InstallResult> {
    const timer = this.#timer.registration();
    if (timer.kind === "none") return { ...result, reaper: { kind: "none", cron: timer.cron } };
    const change = await this.#timer.install(mode);
    return { ...result, reaper: { kind: "timer", path: timer.path, change } };
  }

  async #reload(
    change: InstallResult["change"],
    mode: "apply" | "dry-run",
  ): Promise<Pick<InstallResult, "restart" | "reloaded">> {
    const restart = change === "unchanged" ? undefined : reloadCommand(this.places.root);
    if (restart === undefined || mode === "dry-run") return { restart };
    const reloaded = await reloadDaemons(this.places.root, this.runner);
    return reloaded === undefined ? { restart } : { restart: undefined, reloaded };
  }

  #isPackaged(): boolean {
    return isOfPackage(this.places.root, this.#files.path);
  }

  /** What dpkg put there is right from the package's own command line, and nobody else's to change. */
  #asPackaged(action: "install" | "uninstall"): InstallResult {
    const { path } = this.#files;
    if (
      action === "install" &&
      this.#isPackage &&
      this.#isPackaged() &&
      this.#files.state().kind === "current"
    )
      return { path, change: "unchanged", restart: undefined };
    const commands = {
      install: "apt-get install --reinstall luksmith",
      uninstall: "apt-get remove luksmith",
    };
    throw new LuksmithError("HOOK_FOREIGN", {
      what: `cannot ${action} ${path}`,
      why: "it belongs to the Debian package luksmith",
      hint: this.#isPackage
        ? commands[action]
        : "use the package's own luksmith, or remove the package: apt-get remove luksmith",
    });
  }

  #requireOurs(): { readonly kind: "current" | "outdated" | "absent" } {
    const state = this.#files.state();
    if (state.kind !== "foreign") return state;
    throw new LuksmithError("HOOK_FOREIGN", {
      what: `${state.path} is not luksmith's`,
      why: "it is not the Perl module that luksmith has there",
      hint: "look into it, and move it away if nobody needs it",
    });
  }

  #requireProxmox(): void {
    if (existsSync(join(this.places.root, PERL_LIBRARY, "PVE/Storage/Plugin.pm"))) return;
    throw new LuksmithError("HOOK_NOT_INSTALLED", {
      what: "cannot install the storage plugin of Proxmox VE",
      why: `this host has no Proxmox VE: PVE/Storage/Plugin.pm is not in ${join(this.places.root, PERL_LIBRARY)}`,
      hint: "run it on a node of Proxmox VE; for libvirt: luksmith install --host libvirt",
    });
  }
}
