import { existsSync, lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import { removeFile, replaceFile } from "../fs/atomic-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { loadManifest } from "../manifest/load.js";
import type { HostAdapter, ReaperRegistration } from "./host-adapter.js";
import type { InstallPlaces } from "./install-places.js";
import { cronLine, isReapUnit, type ReapTarget, type ReapUnits, renderReapUnits } from "./reap-units.js";

const SERVICE = "luksmith-reap.service";
const TIMER = "luksmith-reap.timer";

/** Whether the systemd of these places runs, or only its files are there. */
type Manager = "running" | "offline";

/** The timer that runs `luksmith reap` where systemd is the init; elsewhere it is cron's task, and the administrator's. */
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
    const texts = [this.#read(SERVICE), this.#read(TIMER)];
    if (texts.includes("foreign")) return { kind: "foreign", path };
    if (texts.every((text) => text === "absent")) return { kind: "absent", path };
    const { service, timer } = this.#units();
    const isCurrent = texts[0] === service && texts[1] === timer && this.#isEnabled();
    return { kind: isCurrent ? "registered" : "outdated", path };
  }

  /** @throws HOOK_FOREIGN: nothing was changed */
  refuseForeign(): void {
    const foreign = [SERVICE, TIMER].find((name) => this.#read(name) === "foreign");
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
    const present = [TIMER, SERVICE].filter((name) => this.#read(name) !== "absent");
    if (present.length === 0) return "unchanged";
    if (mode === "apply") await this.#uninstall();
    return "removed";
  }

  async #install({ service, timer }: ReapUnits): Promise<void> {
    try {
      replaceFile(join(this.#directory, SERVICE), Buffer.from(service), 0o644);
      replaceFile(join(this.#directory, TIMER), Buffer.from(timer), 0o644);
      await this.#systemctl("enable");
    } catch (thrown) {
      // whatever it was that failed, nothing may be left of the rest
      await this.#systemctl("disable").catch(() => undefined);
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
    if (this.#read(TIMER) !== "absent") await this.#systemctl("disable");
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
    for (const name of [TIMER, SERVICE]) removeFile(join(this.#directory, name));
    // by which `Persistent=` remembers the last run
    const stamp = join(this.places.root, "var/lib/systemd/timers", `stamp-${TIMER}`);
    if (existsSync(stamp)) removeFile(stamp);
  }

  async #systemctl(action: "enable" | "disable"): Promise<void> {
    if (this.manager === "offline") {
      await this.#run([`--root=${this.places.root}`, action, TIMER]);
      return;
    }
    await this.#run(["daemon-reload"]);
    await this.#run([action, "--now", TIMER]);
  }

  #run(args: readonly string[]): Promise<unknown> {
    return this.runner.run({ tool: "systemctl", args });
  }

  #hasSystemd(): boolean {
    return isBooted(this.places.root) && existsSync(this.#directory);
  }

  #isEnabled(): boolean {
    const link = join(this.#directory, "timers.target.wants", TIMER);
    return lstatSync(link, { throwIfNoEntry: false }) !== undefined;
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

  #units(): ReapUnits {
    return renderReapUnits(this.#target());
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
