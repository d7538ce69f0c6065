import { existsSync, lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { removeFile, replaceFile } from "../fs/atomic-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { loadManifest } from "../manifest/load.js";
import type { HostAdapter, ReaperRegistration } from "./host-adapter.js";
import type { InstallPlaces } from "./install-places.js";
import { cronLine, isReapUnit, type ReapTarget, renderReapUnits, renderRotateUnits } from "./reap-units.js";

const TIMER = "luksmith-reap.timer";
const ROTATE_TIMER = "luksmith-rotate.timer";
const TIMERS = [TIMER, ROTATE_TIMER];
const FILES = [...TIMERS, "luksmith-reap.service", "luksmith-rotate.service"];

/** Whether the systemd of these places runs, or only its files are there. */
type Manager = "running" | "offline";

/**
 * The timers that run `luksmith reap`, and `luksmith rotate --all --due`, where systemd is the init; elsewhere it is
 * cron's task, and the administrator's. They come and go together.
 */
export class ReapTimer {
  readonly #directory: string;
  readonly path: string;

  /** @param manager for tests */
  constructor(
    private readonly host: HostAdapter["type"],
    private readonly places: InstallPlaces,
    private readonly runner: CommandRunner,
    private readonly manager: Manager = places.root === "/" && isBooted(places.root) ? "running" : "offline",
  ) {
    this.#directory = join(places.root, "etc/systemd/system");
    this.path = join(this.#directory, TIMER);
  }

  registration(): ReaperRegistration {
    const { path } = this;
    if (!this.#hasSystemd()) return { kind: "none", path, cron: cronLine(this.#target()) };
    const units = this.#units();
    const texts = FILES.map((name) => this.#read(name));
    if (texts.includes("foreign")) return { kind: "foreign", path };
    if (texts.every((text) => text === "absent")) return { kind: "absent", path };
    const isCurrent = FILES.every((name, index) => texts[index] === units.get(name)) && this.#areEnabled();
    return { kind: isCurrent ? "registered" : "outdated", path };
  }

  /** @throws HOOK_FOREIGN: nothing was changed */
  refuseForeign(): void {
    const foreign = FILES.find((name) => this.#read(name) === "foreign");
    if (foreign === undefined) return;
    const path = join(this.#directory, foreign);
    throw new LuksmithError("HOOK_FOREIGN", {
      what: `${path} is not luksmith's`,
      why: "it lacks the mark that luksmith puts into its file",
      hint: "look into it, and move it away if nobody needs it",
    });
  }

  /** @throws HOOK_NOT_INSTALLED: then there is no timer */
  async install(mode: "apply" | "dry-run"): Promise<"installed" | "updated" | "unchanged"> {
    const { kind } = this.registration();
    if (kind === "registered" || kind === "none") return "unchanged";
    if (mode === "apply") await this.#install(this.#units());
    return kind === "absent" ? "installed" : "updated";
  }

  /** @throws NOT_PERMITTED, TOOL_FAILED */
  async uninstall(mode: "apply" | "dry-run"): Promise<"removed" | "unchanged"> {
    const present = FILES.filter((name) => this.#read(name) !== "absent");
    if (present.length === 0) return "unchanged";
    if (mode === "apply") await this.#uninstall();
    return "removed";
  }

  async #install(units: ReadonlyMap<string, string>): Promise<void> {
    try {
      for (const [name, text] of units) replaceFile(join(this.#directory, name), Buffer.from(text), 0o644);
      await this.#systemctl("enable", TIMERS);
    } catch (thrown) {
      // whatever it was that failed, nothing may be left of the rest
      await this.#systemctl("disable", TIMERS).catch(() => undefined);
      this.#removeFiles();
      const { message, why = message } = asLuksmithError(thrown);
      throw new LuksmithError("HOOK_NOT_INSTALLED", {
        what: `cannot install ${this.path}`,
        why: systemErrorOf(thrown)?.text ?? why,
        hint: "the hook is installed and works; run this again, or let cron run luksmith reap",
        cause: thrown,
      });
    }
  }

  async #uninstall(): Promise<void> {
    const timers = TIMERS.filter((name) => this.#read(name) !== "absent");
    if (timers.length > 0) await this.#systemctl("disable", timers);
    try {
      this.#removeFiles();
    } catch (thrown) {
      const error = systemErrorOf(thrown);
      if (error === undefined) throw thrown;
      throw new LuksmithError("NOT_PERMITTED", {
        what: `cannot remove ${this.path}`,
        why: error.text,
        hint: "run it as root",
        cause: thrown,
      });
    }
    if (this.manager === "running") await this.#run(["daemon-reload"]);
  }

  #removeFiles(): void {
    for (const name of FILES) removeFile(join(this.#directory, name));
    for (const name of TIMERS) {
      // by which `Persistent=` remembers the last run
      const stamp = join(this.places.root, "var/lib/systemd/timers", `stamp-${name}`);
      if (existsSync(stamp)) removeFile(stamp);
    }
  }

  async #systemctl(action: "enable" | "disable", timers: readonly string[]): Promise<void> {
    if (this.manager === "offline") {
      await this.#run([`--root=${this.places.root}`, action, ...timers]);
      return;
    }
    await this.#run(["daemon-reload"]);
    await this.#run([action, "--now", ...timers]);
  }

  #run(args: readonly string[]): Promise<unknown> {
    return this.runner.run({ tool: "systemctl", args });
  }

  #hasSystemd(): boolean {
    return isBooted(this.places.root) && existsSync(this.#directory);
  }

  #areEnabled(): boolean {
    const links = TIMERS.map((name) => join(this.#directory, "timers.target.wants", name));
    return links.every((link) => lstatSync(link, { throwIfNoEntry: false }) !== undefined);
  }

  /** A link is foreign as well: that is how an administrator masks a unit. */
  #read(name: string): string {
    const path = join(this.#directory, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return "absent";
    if (!stats.isFile()) return "foreign";
    const text = readFileSync(path, "utf8");
    return isReapUnit(text) ? text : "foreign";
  }

  /** By their file names. */
  #units(): ReadonlyMap<string, string> {
    const [reap, rotate] = [renderReapUnits(this.#target()), renderRotateUnits(this.#target())];
    const texts = [reap.timer, rotate.timer, reap.service, rotate.service];
    return new Map(texts.map((text, index) => [FILES[index] ?? "", text]));
  }

  #target(): ReapTarget {
    const { host } = this;
    const { node, pluginRoot } = this.places;
    const { version } = loadManifest(join(pluginRoot, "plugin.json"));
    return { host, version, node, cli: join(pluginRoot, "dist/cli/luksmith.js") };
  }
}

/** sd_booted(3) */
function isBooted(root: string): boolean {
  return existsSync(join(root, "run/systemd/system"));
}
