import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "rolldown";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { LibvirtHostAdapter } from "../../../src/host/libvirt/libvirt-host-adapter.js";
import { ARRIVALS_DIRECTORY } from "../../../src/migration/arrivals.js";
import { type LibvirtHost, startLibvirtHost } from "../../lab/libvirt-host.js";
import { domainXml } from "../../lab/test-domain.js";
import type { HookBehaviour, HookSight } from "./migration-hook.js";
import { makePageFiles } from "./page-files.js";

const NAME = `web '1' & <x>`;
/** On each host another file. */
export const APART = "/run/apart.raw";

/** A plain disk of the guest. */
export const diskXml = (inside = "") => `<disk type='file' device='disk'><driver name='qemu' type='raw'/>
  <source file='${APART}'>${inside}</source><target dev='vda' bus='virtio'/></disk>`;

/** Sockets that QEMU listens on for the guest's own sake. */
export const LISTENERS = `<graphics type='vnc' autoport='yes' websocket='-1' passwd='geheim12'/>
  <graphics type='spice' autoport='yes' passwd='geheim12'/>
  <serial type='unix'><source mode='bind' path='/run/serial &amp;1'/></serial>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`;

/** Two hosts, of which b has a hook that uses the adapter as Luksmith's own does, and tells what it sees. */
export class HookedHosts {
  /** Of the test; no disk is on both hosts. */
  guest = { id: randomUUID(), name: NAME };
  readonly source: LibvirtHostAdapter;
  readonly target: LibvirtHostAdapter;

  /** @param hooks directory of the hook on b */
  private constructor(
    readonly a: LibvirtHost,
    readonly b: LibvirtHost,
    readonly hooks: string,
  ) {
    const runner = new ExecaCommandRunner();
    this.source = new LibvirtHostAdapter({ libvirtUri: a.uri }, runner);
    const places = { root: b.root, node: process.execPath, pluginRoot: hooks };
    this.target = new LibvirtHostAdapter({ libvirtUri: b.uri }, runner, places);
  }

  static async start(): Promise<HookedHosts> {
    const [a, b] = await Promise.all([startLibvirtHost(), startLibvirtHost()]);
    const hosts = new HookedHosts(a, b, join(b.dir, "plugin"));
    await makePlugin(hosts.hooks);
    // for hosts that have Cockpit
    await makePageFiles(hosts.hooks);
    // a hook of somebody else's, so that libvirt looks at hooks from the start
    await b.recordHooks();
    await b.restartDaemon();
    return hosts;
  }

  async begin(): Promise<void> {
    this.guest = { id: randomUUID(), name: NAME };
    await mkdir(join(this.b.root, ARRIVALS_DIRECTORY), { recursive: true });
    await this.behave({});
    await writeFile(join(this.hooks, "sights"), "");
    for (const host of [this.a, this.b]) await host.exec(["truncate", "-s", "4M", APART]);
    await this.target.install("apply");
  }

  async end(): Promise<void> {
    await rm(join(this.hooks, "block"), { force: true });
    for (const host of [this.a, this.b]) {
      for (const id of (await host.virsh("list", "--uuid")).split("\n").filter(Boolean))
        await host.virsh("destroy", "--domain", id);
      for (const id of (await host.virsh("list", "--all", "--uuid")).split("\n").filter(Boolean))
        await host.virsh("undefine", "--domain", id);
      for (const uuid of await host.secretsLeft()) await host.virsh("secret-undefine", uuid);
    }
  }

  async behave(behaviour: HookBehaviour): Promise<void> {
    await writeFile(join(this.hooks, "behaviour"), JSON.stringify(behaviour));
  }

  async sights(): Promise<HookSight[]> {
    const lines = (await readFile(join(this.hooks, "sights"), "utf8")).split("\n").slice(0, -1);
    return lines.map((line) => JSON.parse(line) as HookSight);
  }

  /** At a. */
  async defineGuest(devices: string): Promise<void> {
    await this.a.define(domainXml({ ...this.guest, uuid: this.guest.id, devices }));
  }

  async startGuest(devices: string): Promise<void> {
    await this.defineGuest(devices);
    await this.a.virsh("start", "--domain", this.guest.id);
  }

  /** As an administrator does it from a third host that reaches both. */
  async migrate(...flags: readonly string[]) {
    const { a, b, guest } = this;
    const domain = ["--domain", guest.id, "--desturi", b.uri, "--migrateuri", `unix://${a.dir}/memory`];
    const how = ["--live", "--persistent", "--undefinesource", "--unsafe", "--timeout", "30"];
    return await execa("virsh", ["-q", "-c", a.uri, "migrate", ...how, ...domain, ...flags], {
      reject: false,
    });
  }
}

/** One pair for all tests of a file; each test has a guest of its own, of which nothing stays. */
export function hookedHostsForThisFile(): () => HookedHosts {
  let hosts: HookedHosts;
  beforeAll(async () => {
    hosts = await HookedHosts.start();
  });
  beforeEach(() => hosts.begin());
  afterEach(() => hosts.end());
  afterAll(() => Promise.all([hosts.a.stop(), hosts.b.stop()]));
  return () => hosts;
}

export async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20);
}

/** A plugin whose hook is built from `migration-hook.ts`, as Luksmith's own are: they must start quickly. */
async function makePlugin(directory: string): Promise<void> {
  const file = join(directory, "dist/hooks");
  await mkdir(file, { recursive: true });
  await writeFile(join(directory, "plugin.json"), await readFile("plugin.json"));
  await writeFile(join(directory, "package.json"), '{"type":"module"}');
  for (const name of ["pre-start", "post-stop"])
    await writeFile(join(file, `${name}.js`), "process.exit(0);\n");
  const input = fileURLToPath(new URL("migration-hook.ts", import.meta.url));
  await build({ input, platform: "node", output: { dir: join(directory, "dist/built"), format: "esm" } });
  await writeFile(
    join(file, "pre-migrate.js"),
    `import { run } from "../built/migration-hook.js";\nprocess.exit(await run(${JSON.stringify(directory)}));\n`,
  );
}
