import { execa } from "execa";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  watch,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { ProxmoxInstallation } from "../../../../src/host/proxmox/install/proxmox-installation.js";
import { RecordingCommandRunner } from "../../../fake/recording-command-runner.js";
import { temporaryDirectory } from "../../../fs/tree.js";

let root: string;
/** A tree in a directory whose name Perl and systemd could misread. */
let tree: string;
let library: string;
let runner: RecordingCommandRunner;

beforeEach(() => {
  root = temporaryDirectory();
  library = join(root, "usr/share/perl5");
  write("usr/share/perl5/PVE/Storage/Plugin.pm", "package PVE::Storage::Plugin;\n1;\n");
  for (const directory of ["etc/systemd/system", "run/systemd/system"])
    mkdirSync(join(root, directory), { recursive: true });
  write("usr/lib/systemd/system/pvedaemon.service", "");
  tree = makeTree(join(temporaryDirectory(), "it's 100% \\x"));
  runner = new RecordingCommandRunner();
});

/** What a build makes of this project, as far as an installation looks at it. */
function makeTree(path: string): string {
  cpSync("plugin.json", join(path, "plugin.json"));
  cpSync(".config/package/may-be-removed", join(path, "dist/share/may-be-removed"));
  cpSync("src/host/proxmox/perl", join(path, "dist/perl"), { recursive: true });
  return path;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function installation(pluginRoot = tree, commands = runner): ProxmoxInstallation {
  return new ProxmoxInstallation(commands, { root, node: "/opt/node's/bin/node", pluginRoot });
}

/** Every file, with what could differ. */
async function everything(): Promise<string> {
  const { stdout } = await execa("find", [root, "-printf", "%P %M %U:%G %s %l\\n"]);
  return stdout.split("\n").sort().join("\n");
}

const path = () => join(library, "PVE/Storage/Custom/LuksmithPlugin.pm");
const paths = () => join(library, "PVE/Luksmith/Paths.pm");

describe("installing on a node of Proxmox VE", () => {
  it.each([
    ["without a directory for plugins of others", () => undefined],
    ["with an empty one", () => mkdirSync(dirname(path()))],
    ["with another plugin", () => write("usr/share/perl5/PVE/Storage/Custom/Other.pm", "1;\n")],
  ])("leaves a node %s exactly as it was, once uninstalled", async (_, prepare) => {
    prepare();
    const before = await everything();
    expect(await installation().registration()).toEqual({ kind: "absent", path: path() });
    const installed = await installation().install("apply");

    expect(installed).toMatchObject({ path: path(), change: "installed", reaper: { change: "installed" } });
    expect(installed.restart).toBe("systemctl try-reload-or-restart pvedaemon");
    expect(await installation().registration()).toEqual({ kind: "registered", path: path() });
    expect(installation().reaperRegistration()).toMatchObject({ kind: "registered" });
    expect(await installation().uninstall("apply")).toMatchObject({ change: "removed" });
    expect(await everything()).toBe(before);
  });

  it("changes nothing when it is only asked what it would do", async () => {
    const before = await everything();
    expect(await installation().install("dry-run")).toMatchObject({ change: "installed" });
    expect(await everything()).toBe(before);
    await installation().install("apply");
    const installed = await everything();
    expect(await installation().uninstall("dry-run")).toMatchObject({ change: "removed" });
    expect(await everything()).toBe(installed);
  });

  it("changes nothing the second time", async () => {
    await installation().install("apply");
    expect(await installation().install("apply")).toMatchObject({ change: "unchanged", restart: undefined });
  });

  it("tells the modules where this tree and its Node.js are", async () => {
    await installation().install("apply");
    const script = "print qq{$PVE::Luksmith::Paths::NODE\\n$PVE::Luksmith::Paths::ENGINE}";
    const { stdout } = await execa("perl", ["-T", `-I${library}`, "-MPVE::Luksmith::Paths", "-e", script]);

    expect(stdout).toBe(`/opt/node's/bin/node\n${tree}`);
    expect(readdirSync(dirname(paths()))).toEqual(readdirSync("src/host/proxmox/perl/PVE/Luksmith"));
  });

  it("starts a reaper that has the host's mounts, to unmount exports, and is what systemd takes", async () => {
    await installation().install("apply");
    const units = ["service", "timer"].map((kind) => join(root, `etc/systemd/system/luksmith-reap.${kind}`));
    const { all } = await execa("systemd-analyze", ["verify", "--man=no", ...units], {
      all: true,
      reject: false,
    });

    // Node.js is not where this test says
    expect(all.replace(/^.*is not executable: No such file or directory\n?/gm, "")).toBe("");
    expect(readFileSync(units[0]!, "utf8")).not.toMatch(/^(Protect(System|Home|Kernel|Control)|Private)/m);
  });
});

describe("another version", () => {
  it("is replaced, also modules that are no more", async () => {
    await installation().install("apply");
    write("usr/share/perl5/PVE/Luksmith/Base/Gone.pm", "package PVE::Luksmith::Base::Gone;\n1;\n");
    writeFileSync(path(), "package PVE::Storage::Custom::LuksmithPlugin;\n1;\n");
    expect(await installation().registration()).toEqual({ kind: "outdated", path: path() });

    expect(await installation().install("apply")).toMatchObject({ change: "updated" });
    expect(existsSync(join(library, "PVE/Luksmith/Base/Gone.pm"))).toBe(false);
    expect(await installation().registration()).toEqual({ kind: "registered", path: path() });
  });

  it("keeps in mind which directory was made for the first", async () => {
    const before = await everything();
    await installation().install("apply");
    writeFileSync(path(), "package PVE::Storage::Custom::LuksmithPlugin;\n1;\n");
    await installation().install("apply");
    await installation().uninstall("apply");

    expect(await everything()).toBe(before);
  });

  it("is what another tree finds", async () => {
    await installation().install("apply");
    const other = makeTree(temporaryDirectory());

    expect(await installation(other).registration()).toEqual({ kind: "outdated", path: path() });
  });
});

describe("an installation that was interrupted", () => {
  it("is finished by the next, or taken away", async () => {
    const before = await everything();
    await installation().install("apply");
    const modules = readdirSync(dirname(paths()));
    // as a kill before the last file leaves it
    rmSync(path());
    expect(await installation().registration()).toEqual({ kind: "absent", path: path() });
    await installation().install("apply");
    expect(readdirSync(dirname(paths()))).toEqual(modules);
    rmSync(path());
    await installation().uninstall("apply");

    expect(await everything()).toBe(before);
  });

  it("would never show a plugin without its modules: the plugin comes last and goes first", async () => {
    // the order in which names appear and vanish, as one reader of inotify(7) sees it
    const seen: string[] = [];
    for (const directory of [dirname(path()), dirname(paths())]) {
      mkdirSync(directory, { recursive: true });
      const watcher = watch(directory, (_, name) => seen.push(String(name)));
      onTestFinished(() => watcher.close());
    }
    const modules = () => [...new Set(seen.filter((name) => name.endsWith(".pm")))];
    await installation().install("apply");
    await vi.waitFor(() => expect(modules().at(-1)).toBe("LuksmithPlugin.pm"));
    expect(modules().length).toBeGreaterThan(5);
    seen.length = 0;
    await installation().uninstall("apply");
    await vi.waitFor(() => expect(modules().at(-1)).toBe("Paths.pm"));
    expect(modules()[0]).toBe("LuksmithPlugin.pm");
  });

  it("takes away what a killed write left", async () => {
    await installation().install("apply");
    const left = join(dirname(path()), ".LuksmithPlugin.pm.999999999.0123456789abcdef.tmp");
    writeFileSync(left, "half");
    writeFileSync(path(), "package PVE::Storage::Custom::LuksmithPlugin;\n1;\n");
    await installation().install("apply");

    expect(existsSync(left)).toBe(false);
  });

  it("writes the plugin last, and puts everything back when that cannot be written", async () => {
    const before = await everything();
    // neither a directory nor a place for one
    symlinkSync("/nowhere/at/all", dirname(path()));
    await expect(installation().install("apply")).rejects.toMatchObject({ code: "HOOK_NOT_INSTALLED" });
    expect(existsSync(dirname(paths()))).toBe(false);
    rmSync(dirname(path()));

    expect(await everything()).toBe(before);
  });
});

describe("uninstalling while it is needed", () => {
  const CFG = "etc/pve/storage.cfg";
  const SECTION = (base: string) =>
    `dir: local\n\tpath /v\n\nluksmith: enc\n\tbase-path ${base}\n\tnodes other\n`;
  const guest = (line: string) => () => {
    write(CFG, SECTION("/srv/enc"));
    write("etc/pve/nodes/pve1/qemu-server/100.conf", `name: web\n${line}\n`);
  };

  it.each([
    [
      "a storage in the configuration, be it another node's",
      () => write(CFG, SECTION("/srv/enc")),
      /storage enc is in/,
    ],
    ["a guest's disk", guest("scsi0: enc:vm-100-disk-0,size=1G"), /guest 100 on node pve1/],
    [
      "a guest's disk, with its volume elsewhere",
      guest("scsi0: cache=none,file=enc:vm-100-disk-0"),
      /guest 100/,
    ],
    ["a guest's TPM", guest("tpmstate0: volume=enc:vm-100-disk-1,version=v2.0"), /guest 100 on node pve1/],
    [
      "a storage that was stripped",
      () => {
        write(CFG, "dir: local\n\tpath /v\n");
        write("etc/pve/luksmith/storages.json", '{"version":1,"storages":[{"id":"enc"}]}');
      },
      /storage enc is in .*storages.json, but not/,
    ],
    [
      "a directory that is empty, as if its file system were not mounted",
      () => {
        mkdirSync(join(root, "srv/enc"), { recursive: true });
        write(CFG, SECTION("/srv/enc").replace(/\tnodes.*\n/, ""));
      },
      /cannot tell whether storage enc has encrypted volumes: .* may be away/,
    ],
    [
      "a configuration that is away",
      () => {
        write("usr/share/perl5/PVE/Storage.pm", "");
        mkdirSync(join(root, "etc/pve"));
      },
      /cannot tell/,
    ],
  ])("is refused for %s, unless it is forced", async (_, prepare, why) => {
    await installation().install("apply");
    prepare();
    const before = await everything();
    for (const mode of ["dry-run", "apply"] as const)
      await expect(installation().uninstall(mode)).rejects.toMatchObject({
        ...{ code: "HOOK_IN_USE", why: expect.stringMatching(why) as string },
        hint: expect.stringContaining("--force") as string,
      });
    expect(await everything()).toBe(before);
    expect(await installation().uninstall("apply", "go on")).toMatchObject({ change: "removed" });
    expect(existsSync(path())).toBe(false);
  });

  it("is not refused on a node without encrypted storages, whose guests have plain disks", async () => {
    write(CFG, "dir: local\n\tpath /v\n");
    write("etc/pve/nodes/pve1/qemu-server/100.conf", "scsi0: local:vm-100-disk-0\nname: enc:x\n");
    await installation().install("apply");
    expect(await installation().uninstall("apply")).toMatchObject({ change: "removed" });
  });

  it("has nothing to say about an empty directory with the mark of luksmith", async () => {
    write("srv/enc/.luksmith-base", "0\n");
    write(CFG, SECTION("/srv/enc").replace(/\tnodes.*\n/, ""));
    await installation().install("apply");
    await expect(installation().uninstall("apply")).rejects.toMatchObject({
      why: expect.not.stringContaining("cannot tell") as string,
    });
  });

  it("is refused by a tree without the program that tells", async () => {
    await installation().install("apply");
    rmSync(join(tree, "dist/share"), { recursive: true });
    await expect(installation().uninstall("apply")).rejects.toMatchObject({ code: "HOOK_IN_USE" });
  });
});

describe("what is not ours", () => {
  it.each([
    ["another package's plugin", () => write("usr/share/perl5/PVE/Storage/Custom/LuksmithPlugin.pm", "1;\n")],
    [
      "another package's module",
      () => write("usr/share/perl5/PVE/Luksmith/Engine.pm", "package Engine;\n1;\n"),
    ],
    ["a file where a directory is to be", () => writeFileSync(dirname(path()), "")],
    [
      "a link",
      () => {
        mkdirSync(dirname(path()));
        symlinkSync("/etc/passwd", path());
      },
    ],
  ])("is left alone: %s", async (_, prepare) => {
    prepare();
    const before = await everything();
    expect(await installation().registration()).toMatchObject({ kind: "foreign" });
    await expect(installation().install("apply")).rejects.toMatchObject({ code: "HOOK_FOREIGN" });
    await expect(installation().uninstall("apply")).rejects.toMatchObject({ code: "HOOK_FOREIGN" });

    expect(await everything()).toBe(before);
  });

  it("is the Debian package's, for a tree", async () => {
    cpSync("src/host/proxmox/perl", library, { recursive: true });
    write("var/lib/dpkg/info/luksmith.list", "/usr/share/perl5/PVE/Storage/Custom/LuksmithPlugin.pm\n");
    const before = await everything();
    expect(await installation().registration()).toMatchObject({ kind: "foreign" });
    await expect(installation().install("apply")).rejects.toMatchObject({ code: "HOOK_FOREIGN" });

    expect(await everything()).toBe(before);
  });

  it("is right where the package itself looks, until somebody edits it", async () => {
    cpSync("src/host/proxmox/perl", library, { recursive: true });
    write("var/lib/dpkg/info/luksmith.list", "/usr/share/perl5/PVE/Storage/Custom/LuksmithPlugin.pm\n");
    const packaged = installation(makeTree(join(root, "usr/lib/luksmith")));

    expect(await packaged.registration()).toMatchObject({ kind: "registered" });
    expect(await packaged.install("apply")).toMatchObject({ change: "unchanged" });
    expect(packaged.reaperRegistration()).toMatchObject({ kind: "absent" });
    writeFileSync(paths(), "package PVE::Luksmith::Paths;\n1;\n");
    expect(await packaged.registration()).toMatchObject({ kind: "outdated" });
    await expect(packaged.install("apply")).rejects.toMatchObject({ code: "HOOK_FOREIGN" });
  });

  it("is a host without Proxmox VE", async () => {
    rmSync(join(library, "PVE"), { recursive: true });
    await expect(installation().install("apply")).rejects.toMatchObject({ code: "HOOK_NOT_INSTALLED" });
  });
});

it("says what builds a tree that has no Perl modules", async () => {
  rmSync(join(tree, "dist"), { recursive: true });
  await expect(installation().install("apply")).rejects.toMatchObject({
    code: "HOOK_NOT_INSTALLED",
    hint: expect.stringContaining("npm run build") as string,
  });
});
