import { execa } from "execa";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { startLibvirtHost } from "./libvirt-host.js";
import { domainXml } from "./test-domain.js";

const HOST = fileURLToPath(new URL("libvirt-host.ts", import.meta.url));

/** The machine's mounts, and its own processes whose command line names `text`. */
async function outside(text: string): Promise<{ mounts: string; processes: string[] }> {
  const { stdout } = await execa("pgrep", ["-f", text], { reject: false });
  const processes = stdout.split("\n").filter((pid) => pid !== "");
  return { mounts: await readFile("/proc/self/mountinfo", "utf8"), processes };
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}

describe("the private libvirt host", () => {
  it("touches nothing of the machine, and leaves nothing when it stops", async () => {
    const before = [
      existsSync("/run/libvirt/libvirt-sock"),
      existsSync("/etc/luksmith"),
      readFileSync("/etc/passwd"),
    ];
    const { mounts } = await outside("none");
    const host = await startLibvirtHost();
    await host.define(domainXml({ name: host.dir }).replaceAll("/", "-"));
    await host.exec([
      "touch",
      "/etc/luksmith/x",
      "/var/lib/luksmith/x",
      "/var/log/luksmith/x",
      "/run/luksmith-x",
    ]);
    const during = [
      existsSync("/run/libvirt/libvirt-sock"),
      existsSync("/etc/luksmith"),
      readFileSync("/etc/passwd"),
    ];
    expect(during).toEqual(before);
    expect(await outside(host.dir)).toMatchObject({ mounts });
    await host.stop();
    await host.stop();
    expect(existsSync(host.dir)).toBe(false);
    expect(await outside(host.dir)).toEqual({ mounts, processes: [] });
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
    const [line] = await child.stdout[Symbol.asyncIterator]()
      .next()
      .then(({ value }) => String(value).split("\n"));
    const { dir, root } = JSON.parse(line!) as { dir: string; root: string };
    expect([existsSync(dir), existsSync(root)]).toEqual([true, true]);
    child.kill(signal);
    await child;
    await until(() => !existsSync(dir));
    expect(existsSync(root)).toBe(false);
    expect((await outside(dir)).processes).toEqual([]);
  });
});
