import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { hostShutdown } from "../../../src/host/libvirt/suspending-shutdown.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { RecordingRunner } from "./recording-runner.js";

const SCRIPT = "usr/lib/libvirt/libvirt-guests.sh";
const DEBIAN = "etc/default/libvirt-guests";
const OTHERS = "etc/sysconfig/libvirt-guests";

/** A host with these files, whose systemctl answers so. */
function shutdown(files: Readonly<Record<string, string>>, ...answers: [enabled: string, active: string]) {
  const root = temporaryDirectory();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const runner = new RecordingRunner(...answers.map((stdout) => ({ exitCode: 1, stdout: `${stdout}\n` })));
  return hostShutdown(runner, root);
}

it.each<[what: string, files: Record<string, string>, action: string]>([
  ["libvirt's own default is suspend", {}, "suspend"],
  [
    "Debian's script has another",
    { [SCRIPT]: 'ON_BOOT="ignore"\nON_SHUTDOWN="shutdown"\n  ON_SHUTDOWN="x"\n' },
    "shutdown",
  ],
  [
    "Debian's file comes before it",
    { [SCRIPT]: "ON_SHUTDOWN=shutdown\n", [DEBIAN]: "#ON_SHUTDOWN=shutdown\nON_SHUTDOWN=suspend\n" },
    "suspend",
  ],
  [
    "and says nothing as it is delivered",
    { [SCRIPT]: "ON_SHUTDOWN=shutdown\n", [DEBIAN]: "#ON_SHUTDOWN=suspend\n" },
    "shutdown",
  ],
  ["others keep it elsewhere", { [OTHERS]: "ON_SHUTDOWN='shutdown' # gently\n" }, "shutdown"],
  ["the last line counts", { [DEBIAN]: "ON_SHUTDOWN=suspend\nexport ON_SHUTDOWN=shutdown\n" }, "shutdown"],
  ["a word that the script does not know suspends", { [DEBIAN]: "ON_SHUTDOWN=poweroff\n" }, "suspend"],
])("%s", async (_, files, action) => {
  expect(await shutdown(files, "enabled", "active")).toMatchObject({ action });
});

it.each([
  ["enabled", "inactive", "on"],
  ["disabled", "active", "on"],
  ["disabled", "inactive", "off"],
  ["masked", "inactive", "off"],
  ["", "", "off"],
] as const)("a service that is %s and %s is %s", async (enabled, active, service) => {
  expect(await shutdown({}, enabled, active)).toMatchObject({ service, settings: `/${DEBIAN}` });
});
