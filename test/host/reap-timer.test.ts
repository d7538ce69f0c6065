import { execa } from "execa";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Command, CommandResult } from "../../src/exec/command-runner.js";
import { ReapTimer } from "../../src/host/reap-timer.js";
import { renderReapUnits } from "../../src/host/reap-units.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { temporaryDirectory } from "../fs/tree.js";

let root: string;
let units: string;
let runner: RecordingCommandRunner;

beforeEach(() => {
  root = temporaryDirectory();
  units = join(root, "etc/systemd/system");
  for (const directory of [units, join(root, "run/systemd/system")])
    mkdirSync(directory, { recursive: true });
  runner = new RecordingCommandRunner();
});

/** With the real systemctl, which needs no running systemd for a root that is not its own. */
function timer(node = "/usr/bin/node"): ReapTimer {
  return new ReapTimer("libvirt", { root, node, pluginRoot: process.cwd() }, runner);
}

/** Every file, with what could differ. */
async function tree(): Promise<string> {
  const { stdout } = await execa("find", [root, "-printf", "%P %M %U:%G %s %l\\n"]);
  return stdout.split("\n").sort().join("\n");
}

const path = () => join(units, "luksmith-reap.timer");

describe("the timer that runs the reaper", () => {
  it("is written and enabled, and gone without a trace once uninstalled", async () => {
    const before = await tree();
    expect(timer().registration()).toEqual({ kind: "absent", path: path() });
    expect(await timer().install("apply")).toBe("installed");
    expect(timer().registration()).toEqual({ kind: "registered", path: path() });
    expect(readlinkSync(join(units, "timers.target.wants/luksmith-reap.timer"))).toContain(
      "luksmith-reap.timer",
    );
    mkdirSync(join(root, "var/lib/systemd/timers"), { recursive: true });
    const withStamps = (await tree()).split("\n").filter((line) => line.startsWith("var"));
    writeFileSync(join(root, "var/lib/systemd/timers/stamp-luksmith-reap.timer"), "");
    expect(await timer().uninstall("apply")).toBe("removed");
    expect((await tree()).split("\n").filter((line) => line.startsWith("var"))).toEqual(withStamps);
    rmSync(join(root, "var"), { recursive: true });
    expect(await tree()).toBe(before);
  });

  it("is left as it is when it is current, or not there to be removed", async () => {
    await timer().install("apply");
    const [before, commands] = [await tree(), runner.lines.length];
    expect(await timer().install("apply")).toBe("unchanged");
    expect([await tree(), runner.lines.length]).toEqual([before, commands]);
    await timer().uninstall("apply");
    expect(await timer().uninstall("apply")).toBe("unchanged");
  });

  it("is not touched by a dry run", async () => {
    const before = await tree();
    expect(await timer().install("dry-run")).toBe("installed");
    expect(await tree()).toBe(before);
    await timer().install("apply");
    const installed = await tree();
    expect(await timer().uninstall("dry-run")).toBe("removed");
    expect(await tree()).toBe(installed);
  });

  it("is replaced when it is of another Node, was not enabled, or lacks its service", async () => {
    await timer("/opt/node").install("apply");
    expect(timer().registration()).toMatchObject({ kind: "outdated" });
    expect(await timer().install("apply")).toBe("updated");
    expect(readFileSync(join(units, "luksmith-reap.service"), "utf8")).toContain('"/usr/bin/node"');
    for (const missing of [
      "timers.target.wants/luksmith-reap.timer",
      "timers.target.wants/luksmith-rotate.timer",
      "luksmith-reap.service",
      "luksmith-rotate.timer",
    ]) {
      rmSync(join(units, missing));
      expect(timer().registration()).toMatchObject({ kind: "outdated" });
      expect(await timer().install("apply")).toBe("updated");
      expect(timer().registration()).toMatchObject({ kind: "registered" });
    }
  });

  it.each([
    ["a service", () => writeFileSync(join(units, "luksmith-reap.service"), "[Service]\n")],
    ["a timer", () => writeFileSync(path(), "[Timer]\n")],
    ["a mask", () => symlinkSync("/dev/null", path())],
    ["a second service", () => writeFileSync(join(units, "luksmith-rotate.service"), "[Service]\n")],
  ])("is not installed over %s of somebody else", async (_, make) => {
    make();
    const before = await tree();
    expect(timer().registration()).toMatchObject({ kind: "foreign" });
    expect(() => timer().refuseForeign()).toThrow(expect.objectContaining({ code: "HOOK_FOREIGN" }));
    expect(await tree()).toBe(before);
  });

  it("leaves nothing behind when it cannot be enabled", async () => {
    const before = await tree();
    const failing = runner;
    failing.before = ({ args }) => {
      if (args.includes("enable"))
        throw new LuksmithError("TOOL_FAILED", { what: "systemctl failed", why: "no" });
    };
    await expect(timer().install("apply")).rejects.toMatchObject({ code: "HOOK_NOT_INSTALLED", why: "no" });
    expect(await tree()).toBe(before);
  });

  it("is cron's task where systemd is not the init", async () => {
    rmSync(join(root, "run"), { recursive: true });
    const places = { root, node: "/opt/my node", pluginRoot: process.cwd() };
    const registration = new ReapTimer("libvirt", places, runner).registration();
    const cli = join(process.cwd(), "dist/cli/luksmith.js");
    expect(registration).toMatchObject({
      kind: "none",
      cron: `*/5 * * * * root '/opt/my node' ${cli} reap --timer >/dev/null`,
    });
    expect(await timer().install("apply")).toBe("unchanged");
    expect(runner.commands).toEqual([]);
  });

  it("is taken away as well when systemd is not the init any more", async () => {
    await timer().install("apply");
    rmSync(join(root, "run"), { recursive: true });
    expect(await timer().uninstall("apply")).toBe("removed");
    expect(existsSync(path())).toBe(false);
  });
});

/** Says what it was asked for, and does of it what changes files; no systemd runs on the machine of these tests. */
class FakeSystemctl extends RecordingCommandRunner {
  override run(command: Command): Promise<CommandResult> {
    this.commands.push(command);
    return Promise.resolve({ exitCode: 0, stdout: "", stderr: "" });
  }
}

it("tells a running systemd to read the units, and to start or stop the timer", async () => {
  const systemctl = new FakeSystemctl();
  const places = { root, node: "/usr/bin/node", pluginRoot: process.cwd() };
  const running = new ReapTimer("libvirt", places, systemctl, "running");
  await running.install("apply");
  await running.uninstall("apply");
  expect(systemctl.lines).toEqual([
    "systemctl daemon-reload",
    "systemctl enable --now luksmith-reap.timer luksmith-rotate.timer",
    "systemctl daemon-reload",
    "systemctl disable --now luksmith-reap.timer luksmith-rotate.timer",
    "systemctl daemon-reload",
  ]);
});

describe("the unit files", () => {
  it("replace once a day what is due", async () => {
    await timer().install("apply");
    const text = (name: string) => readFileSync(join(units, `luksmith-rotate.${name}`), "utf8");
    expect(text("service")).toMatch(/^ExecStart=.* rotate --all --due$/m);
    expect(text("timer")).toMatch(/^OnCalendar=daily$/m);
  });

  it("are what systemd takes without a word", async () => {
    await timer().install("apply");
    const names = ["reap", "rotate"].flatMap((name) => [
      `luksmith-${name}.service`,
      `luksmith-${name}.timer`,
    ]);
    const files = names.map((name) => join(units, name));
    const { all } = await execa("systemd-analyze", ["verify", "--man=no", ...files], { all: true });
    expect(all).toBe("");
  });

  const NODE = `/opt/it's a "node" 100% $HOME \\x`;

  it("start the command with any path, and an empty environment", () => {
    const { service } = renderReapUnits({
      host: "libvirt",
      version: "0.1.0",
      node: NODE,
      cli: "/opt/luksmith.js",
    });
    expect(/^ExecStart=.*$/m.exec(service)?.[0]).toBe(
      String.raw`ExecStart=/usr/bin/env -i LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "/opt/it's a \"node\" 100%% $$HOME \\x" "/opt/luksmith.js" reap --timer`,
    );
  });
});
