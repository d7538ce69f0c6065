import { execa } from "execa";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HookShim } from "../../../src/host/libvirt/hook-shim.js";

let root: string;
let shim: HookShim;
let path: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "luksmith-root-"));
  await mkdir(join(root, "etc"));
  shim = new HookShim({ root, node: "/usr/bin/node", pluginRoot: process.cwd() });
  path = join(root, "etc/libvirt/hooks/qemu.d/luksmith");
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

/** Every file, with what could differ. */
async function tree(): Promise<string> {
  const { stdout } = await execa("find", [root, "-printf", "%P %M %U:%G %s %l\\n"]);
  return stdout.split("\n").sort().join("\n");
}

const hosts: [string, () => Promise<void>][] = [
  ["without libvirt's directories", () => Promise.resolve()],
  ["without hooks", () => makeDirectories("etc/libvirt")],
  ["without qemu.d", () => makeDirectories("etc/libvirt/hooks")],
  ["with an empty qemu.d", () => makeDirectories("etc/libvirt/hooks/qemu.d")],
  [
    "with foreign hooks",
    async () => {
      await makeDirectories("etc/libvirt/hooks/qemu.d");
      for (const name of ["qemu", "qemu.d/other"]) {
        await writeFile(join(root, "etc/libvirt/hooks", name), "#!/bin/sh\n", { mode: 0o755 });
      }
    },
  ],
];

async function makeDirectories(directory: string): Promise<void> {
  await mkdir(join(root, directory), { recursive: true, mode: 0o700 });
}

describe("installing", () => {
  it.each(hosts)("leaves a host %s exactly as it was, once uninstalled", async (_, prepare) => {
    await prepare();
    const before = await tree();
    expect(await shim.install("apply")).toMatchObject({ path, change: "installed" });
    expect(await shim.registration()).toEqual({ kind: "registered", path });
    expect(await shim.uninstall("apply")).toEqual({ path, change: "removed", restart: undefined });
    expect(await tree()).toBe(before);
    expect(await shim.registration()).toEqual({ kind: "absent", path });
  });

  it("adds one executable file and nothing else", async () => {
    await makeDirectories("etc/libvirt/hooks/qemu.d");
    const before = await tree();
    await shim.install("apply");
    const added = (await tree()).split("\n").filter((line) => !before.includes(line));
    expect(added).toEqual([expect.stringMatching(/^etc\/libvirt\/hooks\/qemu\.d\/luksmith -rwxr-xr-x /)]);
  });

  it("is idempotent", async () => {
    await shim.install("apply");
    const before = await tree();
    expect(await shim.install("apply")).toEqual({ path, change: "unchanged", restart: undefined });
    expect(await tree()).toBe(before);
    await shim.uninstall("apply");
    expect(await shim.uninstall("apply")).toEqual({ path, change: "unchanged", restart: undefined });
  });

  it("changes nothing in a dry run", async () => {
    const before = await tree();
    expect(await shim.install("dry-run")).toMatchObject({ change: "installed" });
    expect(await tree()).toBe(before);
    await shim.install("apply");
    const installed = await tree();
    expect(await shim.uninstall("dry-run")).toMatchObject({ change: "removed" });
    expect(await tree()).toBe(installed);
  });

  it("replaces a shim of another Node, and still knows what to take away", async () => {
    const before = await tree();
    await new HookShim({ root, node: "/opt/node", pluginRoot: process.cwd() }).install("apply");
    expect(await shim.registration()).toEqual({ kind: "outdated", path });
    expect(await shim.install("apply")).toEqual({ path, change: "updated", restart: undefined });
    expect(await shim.registration()).toEqual({ kind: "registered", path });
    await shim.uninstall("apply");
    expect(await tree()).toBe(before);
  });

  it("mends a shim that lost its mode, which libvirt would not run", async () => {
    await shim.install("apply");
    await chmod(path, 0o644);
    expect(await shim.registration()).toEqual({ kind: "outdated", path });
    const { change, restart } = await shim.install("apply");
    expect({ change, restart: typeof restart }).toEqual({ change: "updated", restart: "string" });
    expect(await shim.registration()).toEqual({ kind: "registered", path });
  });

  it.each([
    ["a file", () => writeFile(path, "#!/bin/sh\n# somebody's hook\n", { mode: 0o755 })],
    ["a link", () => symlink("/usr/bin/true", path)],
    ["a directory", () => mkdir(path)],
  ])("refuses to replace or remove %s of somebody else", async (_, make) => {
    await makeDirectories("etc/libvirt/hooks/qemu.d");
    await make();
    const before = await tree();
    expect(await shim.registration()).toEqual({ kind: "foreign", path });
    await expect(shim.install("apply")).rejects.toMatchObject({ code: "HOOK_FOREIGN" });
    await expect(shim.uninstall("apply")).rejects.toMatchObject({ code: "HOOK_FOREIGN" });
    expect(await tree()).toBe(before);
  });

  it("leaves nothing behind when it fails", async () => {
    await makeDirectories("etc/libvirt/hooks");
    // in the way of the temporary file, so that the write fails after qemu.d was made
    await makeDirectories("etc/libvirt/hooks/.luksmith-shim/x");
    const before = await tree();
    await expect(shim.install("apply")).rejects.toMatchObject({ code: "HOOK_NOT_INSTALLED" });
    expect(await tree()).toBe(before);
  });

  it("keeps a directory that somebody else uses by now", async () => {
    await shim.install("apply");
    const other = join(root, "etc/libvirt/hooks/qemu.d/other");
    await writeFile(other, "#!/bin/sh\n");
    await shim.uninstall("apply");
    expect(await readFile(other, "utf8")).toBe("#!/bin/sh\n");
    expect(await shim.registration()).toEqual({ kind: "absent", path });
  });
});

describe("what to do after installing", () => {
  it.each([
    ["libvirtd without systemd", [], "kill -HUP $(cat /run/libvirtd.pid)"],
    ["libvirtd", ["run/systemd/system"], "systemctl try-reload-or-restart libvirtd"],
    [
      "the modular daemons",
      ["run/systemd/system", "run/libvirt/virtqemud-sock"],
      "systemctl try-reload-or-restart virtqemud",
    ],
  ])("names the command for %s", async (_, present, command) => {
    for (const directory of present) await makeDirectories(directory);
    expect(await shim.install("dry-run")).toMatchObject({ restart: command });
  });
});
