import { Command, Option } from "commander";
import { asLuksmithError } from "../error/luksmith-error.js";
import { KNOWN_HOSTS, type KnownHost } from "../host/index.js";
import { changeableByOthers } from "../manifest/ownership.js";
import type { HostAdapter, InstallResult, PageChange } from "../host/host-adapter.js";
import { clearCache } from "./cache.js";
import { HOST, KEYRING } from "../tokens.js";
import { open } from "./open.js";
import { print } from "./output.js";
import { canList } from "../keystore/keystore.js";
import type { Container } from "../di.js";

interface Options {
  readonly host: KnownHost;
  readonly dryRun?: true;
  readonly force?: true;
}

export function installCommand(): Command {
  return hostCommand("install")
    .summary("register the hooks with the host manager")
    .description(
      "Registers the hooks with the host manager, on Proxmox VE by its storage plugin, and a timer that cleans up after guests that crashed (luksmith reap); what others have registered stays as it is. The Debian package has done it for Proxmox VE.",
    )
    .action(async (options: Options) => {
      const host = open({ host: options.host }).resolve(HOST);
      report(await host.install(modeOf(options)), options);
      const path = changeableByOthers();
      if (path !== undefined)
        print(`warning: ${path} can be changed by others than root; see: luksmith doctor`);
    });
}

export function uninstallCommand(): Command {
  return hostCommand("uninstall")
    .summary("take the hooks away again")
    .description(
      "Takes the hooks and the timer away and leaves the host as it was. Keys, settings and disks stay. On Proxmox VE refused while there are encrypted storages.",
    )
    .option("--force", "on Proxmox VE: also while there are encrypted storages, which cannot be used then")
    .action(async (options: Options) => {
      const container = open({ host: options.host });
      report(await container.resolve(HOST).uninstall(modeOf(options), options.force && "go on"), options);
      await clearCopies(options);
      await warnOfEncryptedGuests(container);
    });
}

function hostCommand(name: string): Command {
  return new Command(name)
    .addOption(new Option("--host <manager>", "host manager").choices(KNOWN_HOSTS).makeOptionMandatory())
    .option("--dry-run", "say what would be done, change nothing");
}

function modeOf({ dryRun }: Options): Parameters<HostAdapter["install"]>[0] {
  return dryRun ? "dry-run" : "apply";
}

function report(result: InstallResult, options: Options): void {
  const { host, dryRun } = options;
  const { change, path, restart, reloaded, reaper, page } = result;
  const would = dryRun ? "would be " : "";
  print(`${would}${change}: ${path}`);
  if (reaper?.kind === "timer") print(`${would}${reaper.change}: ${reaper.path}`);
  if (reaper?.kind === "none") {
    print(
      "there is no systemd to clean up after guests that crash: let cron do it, in /etc/cron.d/luksmith:",
    );
    print(reaper.cron);
  }
  if (page !== undefined) reportPage(page, options);
  if (reloaded !== undefined) print(`told to ${RELOADS[host].task}: ${reloaded}`);
  if (restart === undefined) return;
  if (dryRun) {
    print(`would then make ${RELOADS[host].who} ${RELOADS[host].task}, as this does: ${restart}`);
    return;
  }
  print(change === "removed" ? RELOADS[host].afterRemoval : RELOADS[host].until);
  print(`now run: ${restart}`);
}

function reportPage({ path, change }: PageChange, { dryRun }: Options): void {
  if (change === "foreign")
    print(`left alone: ${path} is not luksmith's, so Cockpit has no page of luksmith`);
  else print(`${dryRun ? "would be " : ""}${change}: ${path}`);
  if (change === "installed" && !dryRun)
    print('Cockpit shows the page "Disk encryption" to whoever logs in from now on');
}

/** What a host manager does with what was installed. */
const RELOADS: Readonly<Record<KnownHost, Record<"who" | "task" | "until" | "afterRemoval", string>>> = {
  libvirt: {
    who: "libvirt",
    task: "look for hooks again",
    until: "libvirt may not know of the hook before it reloads; until then guests can start without luksmith",
    afterRemoval: "libvirt looks for its hooks when it reloads",
  },
  proxmox: {
    who: "Proxmox VE's daemons",
    task: "load the storage plugins again",
    until:
      "Proxmox VE's daemons may not know of the plugin before they reload; until then guests can start without luksmith",
    afterRemoval: "Proxmox VE's daemons have the plugin loaded until they reload",
  },
};

/** The keys stay in their keystores; nobody would look after what this host has of them. */
async function clearCopies(options: Options): Promise<void> {
  try {
    await clearCache(modeOf(options));
  } catch (thrown) {
    // the hooks are gone, which was the task
    const { message, hint = "look at it yourself", exitCode } = asLuksmithError(thrown);
    print(`copies of keys are left on this host: ${message}; ${hint}, then: luksmith cache clear`);
    process.exitCode = exitCode;
  }
}

/** Without our hooks nobody brings their passphrases: they do not start, and their administrator should know. */
async function warnOfEncryptedGuests(container: Container): Promise<void> {
  try {
    const keystores = (await container.resolve(KEYRING).all()).filter(canList);
    const records = (await Promise.all(keystores.map((keystore) => keystore.list()))).flat();
    const ids = new Set(records.map((record) => record.guest.id));
    const guests = (await container.resolve(HOST).listGuests()).filter(({ id }) => ids.has(id));
    const names = guests.map(({ name }) => name).sort();
    if (names.length > 0) print(`these guests do not start until it is installed again: ${names.join(", ")}`);
  } catch (thrown) {
    // the hooks are gone, which was the task; a damaged keystore has a message of its own
    print(`cannot tell which guests are encrypted: ${asLuksmithError(thrown).message}`);
  }
}
