import { execa } from "execa";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { type CephCluster, startCephCluster } from "./ceph-cluster.js";

const CLUSTER = fileURLToPath(new URL("ceph-cluster.ts", import.meta.url));

const alive = (pids: CephCluster["pids"]) =>
  Object.values(pids).filter((pid) => existsSync(`/proc/${pid}`)).length;

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(20);
}

describe("the private Ceph cluster", () => {
  it("serves images to Ceph's tools and to QEMU, and leaves nothing when it stops", async () => {
    const cluster = await startCephCluster();
    await cluster.rbd("create", "rbd/vm-1", "--size", "8M");
    const image = `json:${JSON.stringify({ driver: "rbd", pool: "rbd", image: "vm-1", conf: cluster.conf })}`;
    const write = await cluster.exec(["qemu-io", "-c", "write -P 7 0 4096", image]);
    expect(write.exitCode).toBe(0);
    const copy = join(cluster.dir, "copy");
    await cluster.rbd("export", "rbd/vm-1", copy);
    expect((await stat(copy)).size).toBe(8 * 1024 * 1024);

    expect(alive(cluster.pids)).toBe(2);
    await cluster.stop();
    await cluster.stop();
    expect([alive(cluster.pids), existsSync(cluster.dir)]).toEqual([0, false]);
  });

  it("gives a user the rights that it was given, and no more", async () => {
    await using cluster = await startCephCluster();
    await cluster.pool("fast vms");
    await cluster.rbd("create", "--pool=fast vms", "--image=vm-1", "--size=8M");
    const { id, key, keyring } = await cluster.user("reader", {
      mon: "profile rbd",
      osd: "profile rbd-read-only",
    });
    expect(await readFile(keyring, "utf8")).toContain(key);
    const reader = ["rbd", "--id", id, "--pool=fast vms"];
    expect(await cluster.exec([...reader, "ls"])).toMatchObject({ exitCode: 0, stdout: "vm-1\n" });
    const refused = await cluster.exec([...reader, "rm", "vm-1"]);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain("Operation not permitted");
  });

  it.each(["SIGKILL", "SIGINT"] as const)("is gone after its test ended by %s", async (signal) => {
    const program = `
      import { startCephCluster } from ${JSON.stringify(CLUSTER)};
      const { dir, pids } = await startCephCluster();
      console.log(JSON.stringify({ dir, pids }));
      setInterval(() => undefined, 1000);`;
    const child = execa("node", ["--import", "tsx", "--input-type", "module", "--eval", program], {
      reject: false,
    });
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const { dir, pids } = JSON.parse(line.toString()) as Pick<CephCluster, "dir" | "pids">;
    expect([alive(pids), existsSync(dir)]).toEqual([2, true]);
    child.kill(signal);
    await child;
    await until(() => alive(pids) === 0 && !existsSync(dir));
  });
});
