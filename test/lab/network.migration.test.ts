import { execa } from "execa";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LibvirtHost, startLibvirtHost } from "./libvirt-host.js";
import { ADDRESSES, connect, type Network } from "./network.js";

describe("two hosts with a network between them", () => {
  let [a, b]: LibvirtHost[] = [];
  let network: Network;
  beforeAll(async () => {
    [a, b] = await Promise.all(ADDRESSES.map((address) => startLibvirtHost({ address })));
    network = await connect(a!, b!);
  });
  afterAll(async () => {
    for (const host of [a, b]) await host?.stop();
  });

  /** Whether `from` gets an answer of the libvirtd at that address in time. */
  const reaches = async (from: LibvirtHost, address: string, seconds = 10) => {
    const uri = `qemu+tcp://${address}/system`;
    const { exitCode } = await from.exec(["timeout", String(seconds), "virsh", "-q", "-c", uri, "hostname"]);
    return exitCode === 0;
  };

  it("reach each other's libvirtd, and nothing else", async () => {
    expect(await Promise.all([reaches(a!, ADDRESSES[1]), reaches(b!, ADDRESSES[0])])).toEqual([true, true]);
    expect(await a!.virsh("hostname")).not.toBe(await b!.virsh("hostname"));
    const routes = (await a!.exec(["ip", "route"])).stdout.trim().split("\n");
    expect(routes).toEqual([expect.stringMatching(/^198\.18\.0\.0\/30 dev cable /)]);
  });

  it("leave the machine's network alone", () => {
    expect(readdirSync("/sys/class/net")).not.toContain("cable");
    expect(listens("/proc/self")).toBe(false);
    expect(listens(a!.network.replace("/ns/net", ""))).toBe(true);
  });

  it("do not reach each other while it is cut", async () => {
    await network.cut();
    await network.cut();
    const cut = await Promise.all([reaches(a!, ADDRESSES[1], 4), reaches(b!, ADDRESSES[0], 4)]);
    expect(cut).toEqual([false, false]);
    await network.mend();
    await network.mend();
    expect([await reaches(a!, ADDRESSES[1]), await reaches(b!, ADDRESSES[0])]).toEqual([true, true]);
  });
});

it("a host without an address of its own listens nowhere", async () => {
  await using host = await startLibvirtHost();
  expect(await host.virsh("hostname")).toContain("luksmith-host");
  expect(listens(host.network.replace("/ns/net", ""))).toBe(false);
});

it("two hosts are gone after their test was killed, with their network and volumes", async () => {
  const program = `
    import { startTwoHosts } from ${JSON.stringify(fileURLToPath(new URL("../e2e/support/two-hosts.ts", import.meta.url)))};
    const { a, b, shared } = await startTwoHosts();
    console.log(JSON.stringify([shared, ...[a, b].flatMap(({ libvirt }) => [libvirt.dir, libvirt.network])]));
    setInterval(() => undefined, 1000);`;
  const child = execa("node", ["--import", "tsx", "--input-type", "module", "--eval", program], {
    reject: false,
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const things = JSON.parse(line.toString()) as string[];
  expect(things.filter((path) => !existsSync(path))).toEqual([]);
  child.kill("SIGKILL");
  await child;
  while (things.some((path) => existsSync(path))) await sleep(20);
});

/** Whether anybody listens on libvirt's port in the network namespace of a process. */
function listens(process: string): boolean {
  const tables = ["tcp", "tcp6"].map((name) => readFileSync(`${process}/net/${name}`, "utf8"));
  return /:407D \S+ 0A /.test(tables.join(""));
}
