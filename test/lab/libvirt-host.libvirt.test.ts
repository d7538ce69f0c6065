import { execa } from "execa";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { startLibvirtHost } from "./libvirt-host.js";
import { domainXml } from "./test-domain.js";

const HOST = fileURLToPath(new URL("libvirt-host.ts", import.meta.url));

/** Processes of the PID namespace that `root` (`/proc/PID/root`) belongs to; taken now, counted later. */
function processesOf(root: string): () => number {
  const namespace = readlinkSync(join(dirname(root), "ns", "pid"));
  return () => readdirSync("/proc").filter((pid) => namespaceOf(pid) === namespace).length;
}

function namespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(join("/proc", pid, "ns", "pid"));
  } catch {
    // not a process, or not any more
    return undefined;
  }
}

/** The mounts of the machine, without those that tests beside this one have in their own temporary directories. */
function mounts(own?: string): string[] {
  const all = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  return all.filter((line) => {
    const point = line.split(" ")[4] ?? "";
    return !point.startsWith(`${tmpdir()}/`) || (own !== undefined && point.startsWith(own));
  });
}

const PRODUCTION = [
  "/run/libvirt",
  "/etc/libvirt",
  "/etc/luksmith",
  "/var/lib/luksmith",
  "/var/log/luksmith",
];

/** What the machine has in the places that the private host uses; `own`: the private host's directory. */
function machine(own?: string): unknown[] {
  const directories = PRODUCTION.map((path) =>
    existsSync(path) ? readdirSync(path, { recursive: true }) : [],
  );
  return [...directories, readFileSync("/etc/passwd", "utf8"), hostname(), mounts(own)];
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}

describe("the private libvirt host", () => {
  it("touches nothing of the machine, and leaves nothing when it stops", async () => {
    const before = machine();
    const host = await startLibvirtHost();
    const processes = processesOf(host.root);
    await host.define(domainXml({ name: "web1" }));
    await host.virsh("start", "web1");
    await host.exec([
      "touch",
      "/etc/luksmith/x",
      "/var/lib/luksmith/x",
      "/var/log/luksmith/x",
      "/etc/libvirt/x",
    ]);
    expect(machine(host.dir)).toEqual(before);
    expect(processes()).toBeGreaterThan(2);
    await host.stop();
    await host.stop();
    expect([processes(), existsSync(host.dir)]).toEqual([0, false]);
    expect(machine(host.dir)).toEqual(before);
  });

  it("keeps guests running over a restart of its libvirtd", async () => {
    await using host = await startLibvirtHost();
    await host.define(domainXml({ name: "web1" }));
    await host.virsh("start", "web1");
    await host.restartDaemon();
    expect((await host.virsh("list", "--name")).trim()).toBe("web1");
  });

  it.each(["SIGKILL", "SIGINT"] as const)("is gone after its test ended by %s", async (signal) => {
    const program = `
      import { startLibvirtHost } from ${JSON.stringify(HOST)};
      const host = await startLibvirtHost();
      await host.exec(["sh", "-c", "sleep 1000 >/dev/null 2>&1 &"]);
      console.log(JSON.stringify({ dir: host.dir, root: host.root }));
      setInterval(() => undefined, 1000);`;
    const child = execa("node", ["--import", "tsx", "--input-type", "module", "--eval", program], {
      reject: false,
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const { dir, root } = JSON.parse(line.toString()) as { dir: string; root: string };
    const processes = processesOf(root);
    expect([processes() > 2, existsSync(dir)]).toEqual([true, true]);
    child.kill(signal);
    await child;
    await until(() => processes() === 0 && !existsSync(dir));
  });
});
