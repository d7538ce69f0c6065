import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { LibvirtHostAdapter } from "../../../src/host/libvirt/libvirt-host-adapter.js";
import { type LibvirtHost, startLibvirtHost } from "../../lab/libvirt-host.js";
import { domainXml } from "../../lab/test-domain.js";
import { makeRecordingPlugin, type RecordingPlugin } from "./recording-plugin.js";

const NAME = `web '1' "$(touch x)" ; \\ <&>`;
const ID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
let host: LibvirtHost;
let plugin: RecordingPlugin;
let adapter: LibvirtHostAdapter;

beforeEach(async () => {
  host = await startLibvirtHost();
  plugin = await makeRecordingPlugin(join(host.dir, "it's a plugin"));
  const places = { root: host.root, node: process.execPath, pluginRoot: plugin.pluginRoot };
  adapter = new LibvirtHostAdapter({ libvirtUri: host.uri }, new ExecaCommandRunner(), places);
  await host.define(domainXml({ name: NAME, uuid: ID }));
});

afterEach(() => host.stop());

/** Does what `install` says is left to do. */
async function install(): Promise<void> {
  const { restart } = await adapter.install("apply");
  expect(await host.exec(["sh", "-c", restart!])).toMatchObject({ exitCode: 0, stderr: "" });
  await host.virsh("uri");
}

/** Our hooks' runs: event and libvirt's operation. */
async function runs(): Promise<string[]> {
  return (await plugin.runs()).map(({ event, argv }) => `${event} ${argv[2]!}`);
}

const operations = async () => (await host.hookLog()).map(({ operation }) => operation);

async function startAndDestroy(): Promise<void> {
  await host.virsh("start", ID);
  await host.virsh("destroy", ID);
}

describe("libvirtd and our hook", () => {
  it("fires for a start and a stop, once reloaded as install says", async () => {
    await install();
    await startAndDestroy();
    expect(await runs()).toEqual(["pre-start prepare", "post-stop release"]);
    for (const run of await plugin.runs()) {
      expect(run.argv.slice(0, 2)).toEqual(["libvirt", NAME]);
      expect(run.stdin).toContain(`<uuid>${ID}</uuid>`);
      expect(Object.keys(run.env)).toEqual(["LC_ALL", "PATH"]);
    }
  });

  it("needs that reload when there was no hook before, and none when there was one", async () => {
    await adapter.install("apply");
    await startAndDestroy();
    expect(await runs()).toEqual([]);
    await adapter.uninstall("apply");
    await host.recordHooks();
    await host.restartDaemon();
    await adapter.install("apply");
    await startAndDestroy();
    expect(await runs()).toEqual(["pre-start prepare", "post-stop release"]);
  });

  it("is gone for libvirtd as soon as it is uninstalled", async () => {
    await install();
    await adapter.uninstall("apply");
    await startAndDestroy();
    expect(await runs()).toEqual([]);
  });

  it("leaves a foreign hook its calls: start, restart of libvirtd, save, restore, stop", async () => {
    await host.recordHooks();
    await install();
    await host.virsh("start", ID);
    await host.restartDaemon();
    const saved = join(host.dir, "saved");
    await host.virsh("save", ID, saved);
    await host.virsh("restore", saved);
    await host.virsh("destroy", ID);
    expect(await operations()).toEqual(
      ["prepare", "start", "started", "reconnect", "stopped", "release"].concat([
        "restore",
        "prepare",
        "start",
        "started",
        "stopped",
        "release",
      ]),
    );
    expect(await runs()).toEqual(
      ["pre-start prepare", "pre-start reconnect", "post-stop release"].concat([
        "pre-start restore",
        "pre-start prepare",
        "post-stop release",
      ]),
    );
  });

  it("can ask libvirtd about secrets in every hook, while libvirtd waits for it", async () => {
    await install();
    await host.virsh("start", ID);
    await host.restartDaemon();
    await host.virsh("destroy", ID);
    const answered = (await plugin.runs()).map(({ argv, secretsAnswered }) => [argv[2], secretsAnswered]);
    expect(answered).toEqual([
      ["prepare", true],
      ["reconnect", true],
      ["release", true],
    ]);
  });

  it("keeps a guest from starting when luksmith is gone, and tells the user why", async () => {
    await install();
    await rm(plugin.pluginRoot, { recursive: true });
    const { exitCode, stderr } = await host.exec(["virsh", "-c", "qemu:///system", "start", ID]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/error: cannot handle prepare of guest/);
    expect(stderr).toMatch(/hint: .*luksmith install/);
    expect((await host.virsh("list", "--uuid")).trim()).toBe("");
  });

  it("does not kill a running guest when luksmith is gone and libvirtd restarts", async () => {
    await install();
    await host.virsh("start", ID);
    await rm(plugin.pluginRoot, { recursive: true });
    await host.restartDaemon();
    expect((await host.virsh("list", "--uuid")).trim()).toBe(ID);
  });
});
