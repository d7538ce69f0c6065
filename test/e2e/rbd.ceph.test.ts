import { randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CephCluster, type CephUser, startCephCluster } from "../lab/ceph-cluster.js";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { MIB } from "./support/volumes.js";

const TIMEOUT = 180_000;

let cluster: CephCluster;
let user: CephUser;
beforeAll(async () => {
  cluster = await startCephCluster();
  user = await cluster.user("libvirt", { mon: "profile rbd", osd: "profile rbd pool=rbd" });
});
const host = hostForThisFile();
afterAll(() => cluster.stop());

interface RbdGuest extends TestGuest {
  readonly image: string;
}

/** A guest whose disk is a new, empty image of 8 MiB, reached as libvirt's documentation has it. */
async function rbdGuest(): Promise<RbdGuest> {
  const image = `disk ${randomUUID()}`;
  await cluster.rbd("create", `--size=${8 * MIB}B`, "--pool=rbd", `--image=${image}`);
  const devices = `<disk type='network' device='disk'>
    <driver name='qemu' type='raw'/>
    <source protocol='rbd' name='rbd/${image}'>
      <config file='${cluster.conf}'/>
      <auth username='${user.id}'><secret type='ceph' uuid='${await cephSecret()}'/></auth>
    </source>
    <target dev='vda' bus='virtio'/>
  </disk>`;
  return { ...(await host().define({ name: "web1", disks: [], devices })), image };
}

async function cephSecret(): Promise<string> {
  const uuid = randomUUID();
  const { libvirt } = host();
  const xml = `<secret ephemeral='yes' private='yes'><uuid>${uuid}</uuid>
    <usage type='ceph'><name>${uuid}</name></usage></secret>`;
  await libvirt.exec(["sh", "-c", "cat >/run/secret.xml"], { input: xml });
  await libvirt.virsh("secret-define", "/run/secret.xml");
  await libvirt.exec(["rm", "/run/secret.xml"]);
  await libvirt.virsh("secret-set-value", uuid, user.key);
  return uuid;
}

/** Has the QEMU of a running guest do what the guest would; QEMU's log has what came of it when it has ended. */
async function inGuest(guest: RbdGuest, command: string): Promise<void> {
  const hmp = `qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "${command}"`;
  await host().libvirt.virsh("qemu-monitor-command", "--hmp", guest.uuid, hmp);
}

/** What came of all of them since the guest was defined. */
function outcomes({ name }: RbdGuest): string[] {
  const log = readFileSync(host().inside(`/var/log/libvirt/qemu/${name}.log`), "utf8");
  return log.match(/^(wrote|read) \d+\/\d+|^Pattern verification failed/gm) ?? [];
}

async function sizeInGuest(guest: RbdGuest): Promise<number> {
  const info = await host().libvirt.virsh("domblkinfo", guest.uuid, "vda");
  return Number(/^Capacity:\s+(\d+)/m.exec(info)?.[1]);
}

async function imageSize({ image }: RbdGuest): Promise<number> {
  const info = await cluster.rbd("info", "--format=json", "--pool=rbd", `--image=${image}`);
  return (JSON.parse(info) as { size: number }).size;
}

async function bytesOf({ image }: RbdGuest): Promise<Buffer> {
  const copy = join(cluster.dir, "export");
  await cluster.rbd("export", "--no-progress", "--pool=rbd", `--image=${image}`, `--path=${copy}`);
  const bytes = readFileSync(copy);
  rmSync(copy);
  return bytes;
}

async function redefine(guest: RbdGuest, change: (xml: string) => string): Promise<void> {
  await host().libvirt.define(change(await host().definition(guest)));
}

const DATA = Buffer.alloc(64, 0x77);

describe("a guest with a disk in a Ceph cluster", () => {
  it(
    "is protected, started by the hooks, and writes nothing in plaintext",
    { timeout: TIMEOUT },
    async () => {
      const guest = await rbdGuest();
      expect(await host().must("protect", "web1")).toContain("web1: vda protected");
      await host().start(guest);
      const name = `rbd:rbd/${guest.image}`;
      expect(await host().json("status", "web1")).toMatchObject({
        guests: [{ running: true, disks: [{ volume: name, protection: "encrypted", guestSize: 6 * MIB }] }],
      });
      await inGuest(guest, "write -P 0x77 1M 64k");
      await host().stop(guest);
      expect(outcomes(guest)).toEqual(["wrote 65536/65536"]);
      expect((await bytesOf(guest)).subarray(0, 6)).toEqual(Buffer.from("LUKS\xba\xbe", "latin1"));
      expect((await bytesOf(guest)).includes(DATA)).toBe(false);

      await host().start(guest);
      await inGuest(guest, "read -P 0x77 1M 64k");
      await inGuest(guest, "read -P 0x78 1M 4k");
      await host().stop(guest);
      expect(outcomes(guest).slice(1)).toEqual([
        "read 65536/65536",
        "Pattern verification failed",
        "read 4096/4096",
      ]);
    },
  );

  it("sees its disk grow to the byte while it runs", { timeout: TIMEOUT }, async () => {
    const guest = await rbdGuest();
    await host().must("protect", "web1", "--now");
    await host().start(guest);
    const bytes = 10 * MIB + 512;
    expect(await host().must("grow", "web1", "vda", String(bytes))).toContain(
      `has grown from 6 MiB to ${bytes} B`,
    );
    expect([await sizeInGuest(guest), await imageSize(guest)]).toEqual([bytes, bytes + 2 * MIB]);
    expect((await host().refusedGrow("web1", "vda", "8M")).code).toBe("VOLUME_WOULD_SHRINK");
    await host().stop(guest);
    await host().must("grow", "web1", "vda", "+512");
    await host().start(guest);
    expect(await sizeInGuest(guest)).toBe(bytes + 512);
  });

  it("does not start when its encryption block is lost", { timeout: TIMEOUT }, async () => {
    const guest = await rbdGuest();
    await host().must("protect", "web1", "--now");
    const before = await bytesOf(guest);
    await redefine(guest, (xml) => xml.replace(/<encryption.*?<\/encryption>/s, ""));
    const { code, hint } = await host().refusedStart(guest);
    expect(code).toBe("ENCRYPTION_BLOCK_LOST");
    expect((await bytesOf(guest)).equals(before)).toBe(true);
    const { exitCode } = await host().paste(hint.replace(/^put the block back: /, ""));
    expect(exitCode).toBe(0);
    await host().start(guest);
  });

  it("is refused in seconds while the cluster does not answer", { timeout: TIMEOUT }, async () => {
    const guest = await rbdGuest();
    await host().must("protect", "web1", "--now");
    process.kill(cluster.pids.mon, "SIGSTOP");
    try {
      const started = performance.now();
      const { code, stderr } = await host().refusedStart(guest);
      expect(code).toBe("VOLUME_UNREADABLE");
      expect(stderr).toContain("the cluster did not answer in time");
      expect(performance.now() - started).toBeLessThan(20_000);
    } finally {
      process.kill(cluster.pids.mon, "SIGCONT");
    }
    await host().start(guest);
  });
});

describe("librbd as the engine", () => {
  it("is not chosen where it loses data", { timeout: TIMEOUT }, async () => {
    const guest = await rbdGuest();
    await host().settings({ version: 1, storage: { rbd: { engine: "librbd" } } });
    const before = await host().definition(guest);
    const [, series, minor] = /^ceph version (\d+)\.\d+\.(\d+)/.exec(await cluster.rbd("--version"))!;
    const isMended = Number(series) > 18 || (series === "18" && Number(minor) >= 5);
    if (isMended) {
      await host().must("protect", "web1");
      expect(await host().definition(guest)).toContain("engine='librbd'");
      await host().start(guest);
    } else {
      const { code, hint } = await host().refusedProtect("web1");
      expect([code, hint]).toEqual(["TRAIT_MISSING", "set storage.rbd.engine to qemu"]);
      expect(await host().definition(guest)).toBe(before);
      expect(await host().keystore().list()).toEqual([]);
    }
  });

  it(
    "opens a disk whose block names it, and does not grow it under its guest",
    { timeout: TIMEOUT },
    async () => {
      const guest = await rbdGuest();
      await host().must("protect", "web1", "--now");
      await redefine(guest, (xml) =>
        xml.replace(/<encryption format='luks'[^>]*>/, "<encryption format='luks' engine='librbd'>"),
      );
      await host().start(guest);
      expect(await host().libvirt.virsh("dumpxml", guest.uuid)).toContain("engine='librbd'");
      expect(await sizeInGuest(guest)).toBe(6 * MIB);
      expect((await host().refusedGrow("web1", "vda", "10M")).code).toBe("GUEST_RUNNING");
      await host().stop(guest);
      await host().must("grow", "web1", "vda", "10M");
      await host().start(guest);
      expect(await sizeInGuest(guest)).toBe(10 * MIB);
    },
  );
});
