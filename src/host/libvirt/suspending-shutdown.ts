import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CommandRunner } from "../../exec/command-runner.js";
import { findTool } from "../../exec/tools.js";
import { ifThere } from "../../fs/if-there.js";

const UNIT = "libvirt-guests.service";
/** The service's script: its first lines have the defaults, which Debian changes to `shutdown`. */
const SCRIPTS = ["usr/lib/libvirt/libvirt-guests.sh", "usr/libexec/libvirt-guests.sh"];
/** What the script then reads: Debian's place, that of others. */
const SETTINGS = ["etc/default/libvirt-guests", "etc/sysconfig/libvirt-guests"];

/** What happens to running guests when their host shuts down. */
interface HostShutdown {
  /** Whether the service that does it is enabled or active. */
  readonly service: "on" | "off";
  /** `suspend` saves the memory of all guests to a disk. */
  readonly action: "suspend" | "shutdown";
  /** Where the action is set. */
  readonly settings: string;
}

/** @param root for tests */
export async function hostShutdown(runner: CommandRunner, root = "/"): Promise<HostShutdown> {
  const settings = SETTINGS.find((path) => existsSync(join(root, path))) ?? SETTINGS[0] ?? "";
  // libvirt's own default where its script does not say
  const action = [settings, ...SCRIPTS].map((path) => assignedIn(join(root, path))).find(isSaid) ?? "suspend";
  return {
    service: (await isOn(runner)) ? "on" : "off",
    // the script takes every other word for suspend
    action: action === "shutdown" ? "shutdown" : "suspend",
    settings: join("/", settings),
  };
}

/** The last value that a shell script gives to ON_SHUTDOWN on a line that is not indented. */
function assignedIn(path: string): string | undefined {
  const text = ifThere(() => readFileSync(path, "utf8")) ?? "";
  const values = [...text.matchAll(/^(?:export[ \t]+)?ON_SHUTDOWN=(["']?)([^"'\s#;]*)\1/gm)];
  return values.at(-1)?.[2];
}

function isSaid(value: string | undefined): value is string {
  return value !== undefined && value !== "";
}

/** A host without systemd, or without the service, has nothing that would save guests. */
async function isOn(runner: CommandRunner): Promise<boolean> {
  if (findTool("systemctl") === undefined) return false;
  const ask = async (question: string) => {
    // other exit codes say no, each for another reason: disabled, inactive, unknown, no systemd
    const answers = [1, 3, 4];
    return (await runner.run({ tool: "systemctl", args: [question, UNIT], answers })).stdout.trim();
  };
  const [enabled, active] = await Promise.all([ask("is-enabled"), ask("is-active")]);
  return enabled.startsWith("enabled") || active === "active";
}
