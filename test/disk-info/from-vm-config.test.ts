import { describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { diskInfoFromVmConfig } from "../../src/disk-info/from-vm-config.js";
import { baseOf } from "../../src/host/proxmox/base/index.js";
import { holdsGuestData } from "../../src/request/guest-data.js";
import { guestOf, STORAGES, VMS } from "../fixtures/proxmox/guests.js";
import { refusalOf } from "../guest-config/refusal.js";

function mappingOf(name: string): Readonly<Record<string, DiskMapping>> {
  return guestOf(name).disks.mapping;
}

function disk(dev: string, value: string): DiskMapping | undefined {
  return diskInfoFromVmConfig({ [dev]: value }, STORAGES).mapping[dev];
}

function bootOf(name: string): Record<string, number | undefined> {
  return Object.fromEntries(Object.values(mappingOf(name)).map(({ dev, boot_index }) => [dev, boot_index]));
}

it("the fixtures become the guests of the golden file", async () => {
  const lines = VMS.flatMap(({ name: fixture }) => {
    const { id, name, disks, asks, tags, pool } = guestOf(fixture);
    const { mapping, ...buses } = disks;
    const told = asks.map(({ problem, ...ask }) =>
      problem === undefined ? ask : { ...ask, problem: problem.why },
    );
    const guest = { id, name, ...buses, tags, pool };
    return [`# ${fixture}`, guest, ...Object.values(mapping), ...told].map((line) =>
      typeof line === "string" ? line : JSON.stringify(line),
    );
  });
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot("vms.golden");
});

describe("volumes", () => {
  it.each([...STORAGES.values()].flatMap(({ encrypted }) => encrypted ?? []))(
    "on $id are what its base calls them",
    (storage) => {
      const expected = baseOf(storage).volume("vm-100-disk-0");
      expect(disk("scsi0", `${storage.id}:vm-100-disk-0`)).toMatchObject({
        ...{ encrypted: true, encryption_format: "luks", volume: expected },
      });
      const clone = disk("scsi0", `${storage.id}:base-100-disk-0/vm-100-disk-0`);
      expect(clone).toMatchObject({ linkedClone: true, volume: expected });
    },
  );

  it("on other storage have words, and no path for a storage backend to look at", () => {
    expect(disk("scsi0", "local-lvm:vm-100-disk-0,size=1G")).toMatchObject({
      encrypted: false,
      volume: {
        ...{ kind: "other", description: "volume local-lvm:vm-100-disk-0" },
        path: "local-lvm:vm-100-disk-0",
      },
    });
  });

  it("that are devices of the host are where they are", () => {
    const { scsi0, scsi1, scsi2, scsi3, virtio0 } = mappingOf("passthrough");
    const path = "/dev/disk/by-id/scsi-35000c500a1b2c3d4";
    expect(scsi0).toMatchObject({ type: "disk", volume: { kind: "block", path, format: "raw" } });
    expect(scsi1).toMatchObject({ type: "lun", volume: { kind: "other", path: "/dev/sg3" } });
    expect(scsi2).toMatchObject({ volume: { kind: "block", format: "qcow2" } });
    expect(scsi3).toMatchObject({ volume: { kind: "other" } });
    expect(virtio0).toMatchObject({ volume: { kind: "block", path: "/dev/mapper/crypt0" } });
  });

  it.each([
    "enc-dir:../../etc/shadow",
    "enc-dir:vm-100-disk-0/../x",
    "enc-dir:vm-100-disk-0\n",
    "enc-dir:subvol-100-disk-0",
    "enc-dir:vm-100-disk-0,snapshot=1",
    "enc-broken:vm-100-disk-0",
  ])("of %j are refused before a start, and are no path", (value) => {
    const config = { scsi0: value, scsi1: "enc-dir:vm-100-disk-1" };
    const { disks, asks } = guestOf("template", { config });
    expect(disks.mapping["scsi0"]?.volume.kind).toBe("other");
    expect(asks.filter(({ problem }) => problem?.code === "DISK_NOT_ENCRYPTED")).toHaveLength(1);
  });

  it.each(["", "size=1G", "a:b,c:d", "file=a:b,volume=c:d", ","])("of %j are refused", (value) => {
    expect(refusalOf(() => disk("scsi0", value)).code).toBe("GUEST_CONFIG_INVALID");
  });
});

describe("what holds data of the guest", () => {
  it.each([
    ["a cloud-init drive", "local-lvm:vm-100-cloudinit,media=cdrom", true],
    ["one of an older name", "local:100/vm-100-cloudinit.qcow2,media=cdrom", true],
    ["an encrypted one", "enc-dir:vm-100-cloudinit,media=cdrom", true],
    ["an ISO image", "local:iso/a.iso,media=cdrom", false],
    ["an ISO image with a misleading name", "local:iso/vm-100-cloudinit.iso,media=cdrom", false],
    ["an empty drive", "none,media=cdrom", false],
    ["the host's drive", "cdrom,media=cdrom", false],
    ["a plain disk", "local:100/vm-100-disk-0.raw", true],
    ["a plain disk that the guest can only read", "local:100/vm-100-disk-0.raw,ro=1", false],
    ["an encrypted disk that it can only read", "enc-dir:vm-100-disk-0,ro=1", true],
  ])("%s: %s", (_, value, holds) => {
    expect(holdsGuestData(disk("scsi0", value)!)).toBe(holds);
  });
});

describe("disks", () => {
  it("are what Proxmox VE goes through, in its order; unused volumes are none", () => {
    expect(Object.keys(mappingOf("ovmf-tpm-windows"))).toEqual(["scsi0", "sata0", "efidisk0", "tpmstate0"]);
    expect(Object.keys(mappingOf("unused-and-pending"))).toEqual(["scsi0", "scsi1"]);
    expect(Object.keys(mappingOf("many-disks"))).toHaveLength(47);
    expect(Object.keys(mappingOf("many-disks")).slice(9, 12)).toEqual(["scsi9", "scsi10", "scsi11"]);
  });

  it("are on the bus of their name; UEFI variables and TPM state on none", () => {
    const { scsi0, efidisk0, tpmstate0 } = mappingOf("ovmf-tpm-windows");
    expect([scsi0?.bus, efidisk0?.bus, tpmstate0?.bus]).toEqual(["scsi", "none", "none"]);
    expect(guestOf("i440fx-ide").disks).toMatchObject({ disk_bus: "ide", cdrom_bus: "ide" });
    expect(guestOf("arm").disks).toMatchObject({ disk_bus: "scsi", cdrom_bus: "scsi" });
  });

  it("are no shared disks because every node has them", () => {
    expect(disk("scsi0", "/dev/disk/by-id/x,shared=1")).not.toHaveProperty("shareable");
  });
});

it("the boot index is the place in the order, or what the letters of before mean", () => {
  expect(bootOf("q35-scsi-encrypted")).toEqual({ scsi0: 1, scsi1: undefined, ide2: 2 });
  expect(bootOf("devices")).toEqual({ scsi0: 1 });
  expect(bootOf("i440fx-ide")).toEqual({ ide0: 1, ide2: 2 });
  // cdn, which counts where nothing is written; two network cards come last
  expect(bootOf("no-boot")).toEqual({ virtio0: 1, ide2: 2, scsi0: undefined });
  expect(bootOf("boot-none")).toEqual({ virtio0: undefined });
  expect(bootOf("media")).toMatchObject({ ide0: 1, ide1: 2, ide2: 3, sata0: 4, scsi0: undefined });
});
