import { describe, expect, it } from "vitest";
import type { DataPlace } from "../../../src/host/data-place.js";
import { ProxmoxWorld } from "./proxmox-world.js";

/** Places of a VM with these options, but those of the host itself. */
async function placesOf(options: Record<string, string>, more = "", world = new ProxmoxWorld()) {
  world.vm(100, options, { more });
  const places = await world.host.dataPlaces(await world.host.readGuest("100"));
  return places.filter(({ kind }) => kind !== "host-swap");
}

const found = (places: readonly DataPlace[]) =>
  places.map(({ kind, protection, where }) => [kind, protection, ...(where === undefined ? [] : [where])]);

/** What every VM has. */
const ALWAYS = [
  ["saved-memory", "possible"],
  ["backup", "possible"],
];

describe("the leak map of a VM of Proxmox VE", () => {
  it("has nothing but backups for one whose disks and memory are on encrypted storage", async () => {
    const options = { scsi0: "enc:vm-100-disk-0,size=4M", vmstatestorage: "enc", ide2: "none,media=cdrom" };
    expect(found(await placesOf(options))).toEqual([["backup", "possible"]]);
  });

  it("has its plain disks, with the command that moves each", async () => {
    const places = await placesOf({
      scsi0: "local:100/vm-100-disk-0.raw,size=4M",
      efidisk0: "local:100/vm-100-disk-1.raw",
      tpmstate0: "local:100/vm-100-disk-2.raw",
      unused0: "local:100/vm-100-disk-3.raw",
      unused1: "enc:vm-100-disk-4",
    });
    expect(found(places)).toEqual([
      ["disk", "plaintext", "volume local:100/vm-100-disk-0.raw"],
      ["nvram", "plaintext", "volume local:100/vm-100-disk-1.raw"],
      ["tpm-state", "plaintext", "volume local:100/vm-100-disk-2.raw"],
      ["disk", "plaintext", "local:100/vm-100-disk-3.raw"],
      ...ALWAYS,
    ]);
    expect(places.map(({ hint }) => hint)).toContain(
      "move it to encrypted storage: qm disk move 100 scsi0 STORAGE",
    );
  });

  it("has a cloud-init drive on plain storage, and no installation medium", async () => {
    const media = {
      ide2: "local:iso/debian.iso,media=cdrom",
      ide0: "local:100/vm-100-cloudinit.qcow2,media=cdrom",
    };
    expect(found(await placesOf(media))).toEqual([
      ["medium", "plaintext", "volume local:100/vm-100-cloudinit.qcow2"],
      ...ALWAYS,
    ]);
    expect(found(await placesOf({ ide0: "enc:vm-100-cloudinit,media=cdrom" }))).toEqual(ALWAYS);
  });

  it("has its memory where it was saved, and that of its snapshots", async () => {
    const snapshots =
      "[one]\nvmstate: local:100/vm-100-state-one.raw\n\n[two]\nvmstate: enc:vm-100-state-two\n\n[three]\ncores: 1\n";
    expect(found(await placesOf({ lock: "suspended", vmstate: "local:vm-100-state-s" }, snapshots))).toEqual([
      ["saved-memory", "plaintext", "local:vm-100-state-s"],
      ["snapshot-memory", "plaintext", "local:100/vm-100-state-one.raw"],
      ["snapshot-memory", "encrypted", "enc:vm-100-state-two"],
      ["backup", "possible"],
    ]);
    expect(found(await placesOf({ vmstate: "enc:vm-100-state-s" }))).toEqual([
      ["saved-memory", "encrypted", "enc:vm-100-state-s"],
      ["backup", "possible"],
    ]);
  });

  it("has what of the host the guest is given", async () => {
    const options = {
      args: "-device x",
      hostpci0: "0000:01:00.0",
      serial0: "socket",
      serial1: "/dev/ttyS0",
      usb0: "spice",
      virtiofs0: "share",
    };
    expect(found(await placesOf(options))).toEqual([
      ["saved-memory", "possible"],
      ["qemu-arguments", "possible", "args: -device x"],
      ["host-device", "possible", "hostpci0: 0000:01:00.0"],
      ["host-device", "possible", "serial1: /dev/ttyS0"],
      ["shared-directory", "plaintext", "virtiofs0: share"],
      ["backup", "possible"],
    ]);
  });

  it("has the network where guests migrate in plaintext", async () => {
    const world = new ProxmoxWorld();
    world.write("etc/pve/datacenter.cfg", "migration: insecure\n");
    expect(found(await placesOf({}, "", world))).toContainEqual([
      "migration",
      "possible",
      "/etc/pve/datacenter.cfg",
    ]);
  });
});
