import { execa } from "execa";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CockpitPage } from "../../../src/host/libvirt/cockpit-page.js";
import { makePageFiles, PAGE_FILES } from "./page-files.js";

const NODE = "/opt/node's/bin/node";

let root: string;
let pluginRoot: string;
let page: CockpitPage;
let path: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "luksmith-root-"));
  pluginRoot = await mkdtemp(join(tmpdir(), "luksmith-plugin-"));
  page = new CockpitPage({ root, node: NODE, pluginRoot });
  path = join(root, "usr/local/share/cockpit/luksmith");
  await makeTree(pluginRoot);
  await put("usr/bin/cockpit-bridge");
});

afterEach(async () => {
  for (const directory of [root, pluginRoot]) await rm(directory, { recursive: true });
});

async function makeTree(directory: string): Promise<void> {
  await makePageFiles(directory);
  await writeFile(join(directory, "plugin.json"), await readFile("plugin.json"));
}

/** A file of the host. */
async function put(name: string, text = ""): Promise<void> {
  await mkdir(join(root, name, ".."), { recursive: true });
  await writeFile(join(root, name), text);
}

function made(directory: string): Promise<string | undefined> {
  return mkdir(join(root, directory), { recursive: true, mode: 0o700 });
}

/** Every file, with what could differ. */
async function tree(): Promise<string> {
  const { stdout } = await execa("find", [root, "-printf", "%P %M %U:%G %s %l\\n"]);
  return stdout.split("\n").sort().join("\n");
}

/** What the page starts. */
async function engine(): Promise<unknown> {
  const window: Record<string, unknown> = {};
  runInNewContext(await readFile(join(path, "engine.js"), "utf8"), { window });
  return JSON.parse(JSON.stringify(window["luksmithEngine"]));
}

const hosts: [string, () => Promise<unknown>][] = [
  ["without /usr/local", () => Promise.resolve()],
  ["with /usr/local", () => made("usr/local")],
  ["with /usr/local/share", () => made("usr/local/share")],
  ["with pages of others", () => put("usr/local/share/cockpit/other/manifest.json")],
];

describe("installing", () => {
  it.each(hosts)("leaves a host %s exactly as it was, once uninstalled", async (_, prepare) => {
    await prepare();
    const before = await tree();
    expect(page.install("apply")).toEqual({ path, change: "installed" });
    expect(page.uninstall("apply")).toEqual({ path, change: "removed" });
    expect(await tree()).toBe(before);
    expect(page.uninstall("apply")).toBeUndefined();
  });

  it("brings what Cockpit needs, for everybody to read", async () => {
    page.install("apply");
    const { stdout } = await execa("find", [path, "-printf", "%P %M\\n"]);
    expect(stdout.split("\n").sort()).toEqual([
      " drwxr-xr-x",
      "app.css -rw-r--r--",
      "app.js -rw-r--r--",
      "engine.js -rw-r--r--",
      "index.html -rw-r--r--",
      "manifest.json -rw-r--r--",
      "third-party-licenses.txt -rw-r--r--",
    ]);
    expect(await readFile(join(path, "index.html"), "utf8")).toBe("cockpit/index.html of the tree\n");
  });

  it("tells the page how this luksmith is started", async () => {
    page.install("apply");
    expect(await engine()).toEqual([NODE, join(pluginRoot, "dist/cli/luksmith.js")]);
  });

  it("is idempotent", async () => {
    page.install("apply");
    const before = await tree();
    expect(page.install("apply")).toEqual({ path, change: "unchanged" });
    expect(await tree()).toBe(before);
  });

  it("does nothing without Cockpit", async () => {
    await rm(join(root, "usr/bin/cockpit-bridge"));
    const before = await tree();
    expect(page.install("apply")).toBeUndefined();
    expect(await tree()).toBe(before);
  });

  it("does nothing where it comes from the package, which has the page in its own files", async () => {
    const packaged = join(root, "usr/lib/luksmith");
    await makeTree(packaged);
    const before = await tree();
    const ofPackage = new CockpitPage({ root, node: NODE, pluginRoot: packaged });
    expect(ofPackage.install("apply")).toBeUndefined();
    expect(await tree()).toBe(before);
  });

  it("is taken away also where Cockpit has gone meanwhile", async () => {
    const before = await tree();
    page.install("apply");
    await rm(join(root, "usr/bin/cockpit-bridge"));
    page.uninstall("apply");
    await put("usr/bin/cockpit-bridge");
    expect(await tree()).toBe(before);
  });

  it("changes nothing in a dry run", async () => {
    const before = await tree();
    expect(page.install("dry-run")).toEqual({ path, change: "installed" });
    expect(await tree()).toBe(before);
    page.install("apply");
    const installed = await tree();
    expect(page.uninstall("dry-run")).toEqual({ path, change: "removed" });
    expect(await tree()).toBe(installed);
  });

  it("replaces the page of another version, and still knows what to take away", async () => {
    const before = await tree();
    page.install("apply");
    await writeFile(join(pluginRoot, "dist/ui/app.js"), "newer\n");
    expect(page.install("apply")).toEqual({ path, change: "updated" });
    expect(await readFile(join(path, "app.js"), "utf8")).toBe("newer\n");
    page.uninstall("apply");
    expect(await tree()).toBe(before);
  });

  it("completes a page that lost a file", async () => {
    page.install("apply");
    const before = await tree();
    await rm(join(path, "index.html"));
    expect(page.install("apply")).toEqual({ path, change: "updated" });
    expect(await tree()).toBe(before);
  });
});

describe("what is not ours", () => {
  it.each([
    ["a directory", () => put("usr/local/share/cockpit/luksmith/manifest.json", "{}")],
    ["an engine of its own", () => put("usr/local/share/cockpit/luksmith/engine.js", "// theirs\n")],
    ["a file", () => put("usr/local/share/cockpit/luksmith", "theirs")],
    [
      "a link",
      async () => {
        await put("elsewhere/engine.js", "// Luksmith 0.1.0: what its page in Cockpit starts.\n");
        await made("usr/local/share/cockpit");
        await symlink(join(root, "elsewhere"), path);
      },
    ],
  ])("leaves %s of somebody else alone", async (_, make) => {
    await make();
    const before = await tree();
    expect(page.install("apply")).toEqual({ path, change: "foreign" });
    expect(page.uninstall("apply")).toBeUndefined();
    expect(await tree()).toBe(before);
  });

  it("keeps what others have put into our directory", async () => {
    page.install("apply");
    await writeFile(join(path, "override.json"), "{}");
    expect(page.uninstall("apply")).toEqual({ path, change: "removed" });
    const { stdout } = await execa("find", [path, "-printf", "%P\\n"]);
    expect(stdout.trim()).toBe("override.json");
  });

  it("does not write through a link that has the name of a file of ours", async () => {
    page.install("apply");
    await put("elsewhere", "theirs");
    await rm(join(path, "app.js"));
    await symlink(join(root, "elsewhere"), join(path, "app.js"));
    expect(page.install("apply")).toEqual({ path, change: "updated" });
    expect(await readFile(join(root, "elsewhere"), "utf8")).toBe("theirs");
    expect(await readFile(join(path, "app.js"), "utf8")).toBe("app.js of the tree\n");
  });
});

describe("failures", () => {
  it("changes nothing for a tree that was not built", async () => {
    await rm(join(pluginRoot, "dist"), { recursive: true });
    const before = await tree();
    expect(() => page.install("apply")).toThrow(expect.objectContaining({ code: "HOOK_NOT_INSTALLED" }));
    expect(await tree()).toBe(before);
  });

  it.each(["usr/local", "usr/local/share", "usr/local/share/cockpit"])(
    "leaves nothing of a page that could not be written, since %s is a file",
    async (name) => {
      await put(name);
      const before = await tree();
      expect(() => page.install("apply")).toThrow(expect.objectContaining({ code: "HOOK_NOT_INSTALLED" }));
      expect(await tree()).toBe(before);
      expect(page.uninstall("apply")).toBeUndefined();
    },
  );

  it("leaves the page of another version as it was when it could not be replaced", async () => {
    page.install("apply");
    await rm(join(path, "manifest.json"));
    await mkdir(join(path, "manifest.json"));
    const before = await tree();
    for (const file of PAGE_FILES) await writeFile(join(pluginRoot, "dist/ui", file), "newer\n");
    expect(() => page.install("apply")).toThrow(expect.objectContaining({ code: "HOOK_NOT_INSTALLED" }));
    expect(await tree()).toBe(before);
    expect(await readFile(join(path, "app.js"), "utf8")).toBe("app.js of the tree\n");
  });

  it("takes up an installation that was killed, at any file", async () => {
    page.install("apply");
    const complete = await tree();
    for (const file of ["manifest.json", "third-party-licenses.txt", "app.js", "app.css", "index.html"]) {
      await rm(join(path, file));
      expect(page.install("apply")).toEqual({ path, change: "updated" });
      expect(await tree()).toBe(complete);
    }
  });

  it("takes up an uninstallation that was killed", async () => {
    const before = await tree();
    page.install("apply");
    for (const file of ["manifest.json", "app.js"]) await rm(join(path, file));
    page.uninstall("apply");
    expect(await tree()).toBe(before);
  });
});
