import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { mappingName } from "../../../src/encryption/dm-crypt/mapping-name.js";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import type { ConfiguredGuest, MappingAnnotation } from "../../../src/host/host-adapter.js";
import { LibvirtHotPlug } from "../../../src/host/libvirt/hot-plug.js";
import { LibvirtHostAdapter } from "../../../src/host/libvirt/libvirt-host-adapter.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import type { PathVolume } from "../../../src/storage/volume.js";
import { type LibvirtHost, startLibvirtHost } from "../../lab/libvirt-host.js";
import { LoopDevice } from "../../lab/loop-device.js";
import { domainXml } from "../../lab/test-domain.js";

const NAME = "web1";
const MiB = 1024 * 1024;

let host: LibvirtHost;
let adapter: LibvirtHostAdapter;
let guest: ConfiguredGuest;

beforeAll(async () => {
  host = await startLibvirtHost();
  adapter = new LibvirtHostAdapter({ libvirtUri: host.uri }, new ExecaCommandRunner());
  // names of mappings, without device-mapper
  await host.exec(["sh", "-c", "mkdir -p /dev/mapper && mount -t tmpfs tmpfs /dev/mapper"]);
});

beforeEach(async () => {
  await host.exec(["sh", "-c", `virsh destroy ${NAME}; virsh undefine ${NAME}`]);
  const root = await image("root.raw");
  const devices = `
    <controller type='scsi' model='virtio-scsi'/>
    <disk type='file'><source file='${root.path}'/><target dev='vda' bus='virtio'/></disk>`;
  await host.define(domainXml({ name: NAME, devices }));
  guest = await adapter.readGuest(NAME);
});

describe("a disk of the persistent configuration", () => {
  it("is added and removed, with all else kept", async () => {
    const volume = await image("data.raw");
    await adapter.addDisk(guest, { dev: "vdb", volume });
    const added = await adapter.readGuest(NAME);
    expect(added.disks.mapping["vdb"]).toEqual({
      ...{ bus: "virtio", dev: "vdb", type: "disk", encrypted: false, volume, readOnly: false },
    });
    expect(added.disks.mapping["vda"]).toEqual(guest.disks.mapping["vda"]);
    await expect(adapter.addDisk(guest, { dev: "vdc", volume })).rejects.toMatchObject({
      code: "GUEST_CHANGED",
    });
    await adapter.removeDisk(guest, "vdb");
    await adapter.removeDisk(guest, "vdb");
    expect((await adapter.readGuest(NAME)).configuration).toBe(guest.configuration);
  });

  it("loses its mapping with it", async () => {
    const annotation = await addMapped("sdb");
    await adapter.removeDisk(guest, "sdb");
    expect(await persistentXml()).not.toContain(annotation.mapping);
    expect(await persistentXml()).not.toContain("metadata");
  });
});

describe("annotations", () => {
  it("with a mapping survive libvirt, are valid, and are what the hook is told", async () => {
    const annotation = await addMapped("sdb");
    const annotated = await adapter.readGuest(NAME);
    expect(annotated.disks.mapping["sdb"]).toMatchObject({
      encryption_format: "luks",
      encryption_secret_uuid: annotation.secretUuid,
      mapping: annotation.mapping,
      volume: annotation.volume,
    });
    const validated = await host.exec(["sh", "-c", "cat >/run/x.xml; virt-xml-validate /run/x.xml domain"], {
      input: annotated.configuration,
    });
    expect(validated).toMatchObject({ exitCode: 0 });
    await keepHookXml();
    await host.virsh("start", NAME);
    expect((await hookGuest("prepare")).disks).toEqual(annotated.disks);
    await host.virsh("destroy", NAME);
    expect((await hookGuest("release")).disks).toEqual(annotated.disks);
  });

  it("are switched to and fro, and come back as they were", async () => {
    const mapping = await addMapped("sdb");
    const before = await adapter.readGuest(NAME);
    const block = { format: "luks", secretUuid: mapping.secretUuid } as const;
    const [mappings, blocks] = [new Map([["sdb", mapping]]), new Map([["sdb", block]])] as const;
    await adapter.annotate(before, blocks, mappings);
    const switched = await adapter.readGuest(NAME);
    expect(switched.disks.mapping["sdb"]).toMatchObject({ encrypted: true, volume: mapping.volume });
    expect(switched.configuration).not.toContain("mapper");
    await adapter.unannotate(before, blocks, mappings);
    expect((await adapter.readGuest(NAME)).configuration).toBe(before.configuration);
    await adapter.unannotate(before, mappings);
    expect((await adapter.readGuest(NAME)).disks.mapping["sdb"]).toMatchObject({ encrypted: false });
  });

  it("leave what others keep in the metadata", async () => {
    await host.virsh(
      "metadata",
      NAME,
      "--uri",
      "urn:app",
      "--key",
      "app",
      "--set",
      "<app><a/></app>",
      "--config",
    );
    guest = await adapter.readGuest(NAME);
    const before = guest.configuration;
    const annotation = await addMapped("sdb");
    expect(await persistentXml()).toContain("<app:app");
    await adapter.unannotate(guest, new Map([["sdb", annotation]]));
    await adapter.removeDisk(guest, "sdb");
    expect((await adapter.readGuest(NAME)).configuration).toBe(before);
  });
});

describe("a running guest", () => {
  it("is given a disk, and lets it go", async () => {
    const volume = await image("data.raw");
    await adapter.addDisk(guest, { dev: "sdb", volume });
    await expect(adapter.attachDisk(guest, "sdb")).rejects.toMatchObject({ code: "GUEST_NOT_RUNNING" });
    await host.virsh("start", NAME);
    await adapter.detachDisk(guest, "sdb");
    expect(await liveDisks()).toEqual(["vda"]);
    for (let time = 0; time < 2; time++) {
      await adapter.attachDisk(guest, "sdb");
      expect(await liveDisks()).toEqual(["vda", "sdb"]);
    }
    expect(await adapter.diskSize(guest, "sdb")).toBe(BigInt(MiB));
    for (let time = 0; time < 2; time++) {
      await adapter.detachDisk(guest, "sdb");
      expect(await liveDisks()).toEqual(["vda"]);
    }
    await expect(adapter.attachDisk(guest, "sdz")).rejects.toMatchObject({ code: "DISK_NOT_FOUND" });
  });

  it("is told what lies under a mapping while it has it", async () => {
    await host.virsh("start", NAME);
    const annotation = await addMapped("sdb");
    await adapter.attachDisk(guest, "sdb");
    const running = await adapter.readRunningGuest(guest);
    expect(running.disks.mapping["sdb"]).toEqual((await adapter.readGuest(NAME)).disks.mapping["sdb"]);
    expect(running.asks).toEqual([]);
    await adapter.detachDisk(guest, "sdb");
    expect(await host.virsh("dumpxml", NAME)).not.toContain(annotation.mapping);
    await keepHookXml();
    await adapter.attachDisk(guest, "sdb");
    await host.virsh("destroy", NAME);
    expect((await hookGuest("release")).disks.mapping["sdb"]).toMatchObject({ mapping: annotation.mapping });
  });

  it("keeps what lies under its other mappings", async () => {
    await host.virsh("start", NAME);
    const [first, second] = [await addMapped("sdb"), await addMapped("sdc")];
    await adapter.attachDisk(guest, "sdb");
    await adapter.attachDisk(guest, "sdc");
    await adapter.detachDisk(guest, "sdb");
    const running = await adapter.readRunningGuest(guest);
    expect(running.disks.mapping["sdc"]).toMatchObject({ mapping: second.mapping, volume: second.volume });
    expect(running.configuration).not.toContain(first.mapping);
  });

  it("is not given what QEMU cannot open, and remembers nothing of it", async () => {
    await host.virsh("start", NAME);
    const annotation = await addMapped("sdb");
    await host.exec(["rm", `/dev/mapper/${annotation.mapping}`]);
    await expect(adapter.attachDisk(guest, "sdb")).rejects.toMatchObject({
      code: "DISK_ATTACH_FAILED",
      why: expect.stringContaining(annotation.mapping) as string,
    });
    expect(await host.virsh("dumpxml", NAME)).not.toContain(annotation.mapping);
  });

  it("is not given a disk in the place of another one", async () => {
    await host.virsh("start", NAME);
    const other = await image("other.raw");
    await host.virsh("attach-disk", NAME, other.path, "sdb", "--live");
    await adapter.addDisk(guest, { dev: "sdb", volume: await image("data.raw") });
    await expect(adapter.attachDisk(guest, "sdb")).rejects.toMatchObject({ code: "DISK_ATTACH_FAILED" });
    expect(await adapter.readRunningGuest(guest)).toMatchObject({
      disks: { mapping: { sdb: { volume: other } } },
    });
  });

  it("is given the disk elsewhere where another device has its place", async () => {
    await host.virsh("start", NAME);
    await adapter.addDisk(guest, { dev: "vdb", volume: await image("data.raw") });
    const [address = ""] = /dev='vdb'[^]*?(<address [^>]*>)/.exec(await persistentXml())?.slice(1) ?? [];
    expect(address).toContain("pci");
    const { path } = await image("other.raw");
    const xml = `<disk type='file'><source file='${path}'/><target dev='vdc' bus='virtio'/>${address}</disk>`;
    await writeFile(join(host.dir, "vdc.xml"), xml);
    await host.virsh("attach-device", NAME, join(host.dir, "vdc.xml"), "--live");
    await adapter.attachDisk(guest, "vdb");
    expect(await liveDisks()).toEqual(["vda", "vdb", "vdc"]);
  });

  it("can keep a disk: its system does not answer", async () => {
    await adapter.addDisk(guest, { dev: "vdb", volume: await image("data.raw") });
    await host.virsh("start", NAME);
    const hotPlug = new LibvirtHotPlug(new Virsh(host.uri, new ExecaCommandRunner()), {
      ...{ requests: 2, looks: 2, pause: 100 },
    });
    await expect(hotPlug.detach(guest, "vdb")).rejects.toMatchObject({
      code: "DISK_DETACH_FAILED",
      why: expect.stringContaining("has not let") as string,
    });
    expect(await liveDisks()).toEqual(["vda", "vdb"]);
  });

  it("can have a disk that cannot be taken away while it runs", async () => {
    await adapter.addDisk(guest, { dev: "hda", volume: await image("data.raw") });
    await host.virsh("start", NAME);
    const started = Date.now();
    await expect(adapter.detachDisk(guest, "hda")).rejects.toMatchObject({
      code: "DISK_DETACH_FAILED",
      why: expect.stringContaining("cannot be hot unplugged") as string,
    });
    expect(Date.now() - started).toBeLessThan(5000);
  });
});

/** A disk over a loop device's file that names a mapping, which is another loop device. */
async function addMapped(dev: string): Promise<MappingAnnotation> {
  const volume = await image(`${dev} & more.raw`);
  const secretUuid = newKeyUuid();
  const mapping = mappingName(volume, secretUuid);
  const device = new LoopDevice(MiB);
  devices.push(device);
  await host.exec(["ln", "-s", device.path, `/dev/mapper/${mapping}`]);
  await adapter.addDisk(await adapter.readGuest(NAME), { dev, volume });
  const annotation: MappingAnnotation = { format: "luks", secretUuid, mapping, volume };
  await adapter.annotate(await adapter.readGuest(NAME), new Map([[dev, annotation]]));
  return annotation;
}

const devices: LoopDevice[] = [];
afterAll(async () => {
  await host.stop();
  for (const device of devices) device[Symbol.dispose]();
});

async function image(name: string): Promise<PathVolume> {
  const path = join(host.dir, name);
  await writeFile(path, Buffer.alloc(MiB));
  return { kind: "file", path, format: "raw" };
}

async function liveDisks(): Promise<string[]> {
  return Object.keys((await adapter.readRunningGuest(guest)).disks.mapping);
}

function persistentXml(): Promise<string> {
  return host.virsh("dumpxml", "--inactive", NAME);
}

/** Puts a hook in place that keeps what it is told. */
async function keepHookXml(): Promise<void> {
  const script = `#!/bin/sh\nexec cat >"${host.dir}/hook-$2.xml"\n`;
  await host.exec(
    [
      "sh",
      "-c",
      "mkdir -p /etc/libvirt/hooks; cat >/etc/libvirt/hooks/qemu; chmod +x /etc/libvirt/hooks/qemu",
    ],
    {
      input: script,
    },
  );
  await host.restartDaemon();
}

async function hookGuest(operation: "prepare" | "release") {
  const stdin = (await host.exec(["cat", `${host.dir}/hook-${operation}.xml`])).stdout;
  const event = operation === "prepare" ? "pre-start" : "post-stop";
  const subOperation = operation === "prepare" ? "begin" : "end";
  return adapter.parseEvent({ event, argv: [NAME, operation, subOperation, "-"], stdin }).guest;
}
