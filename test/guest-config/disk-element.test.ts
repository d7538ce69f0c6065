import { describe, expect, it } from "vitest";
import { addDisk, diskText, removeDisk } from "../../src/guest-config/disk-element.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { NewDisk } from "../../src/host/host-adapter.js";
import type { Volume } from "../../src/storage/volume.js";
import { DOMAINS, domainXml } from "../fixtures/domains/domains.js";
import { schemaValid } from "../fixtures/domains/xmllint.js";
import { refusalOf } from "./refusal.js";

const FILE: Volume = { kind: "file", path: `/srv/a'b"c<d>&.qcow2`, format: "qcow2" };
const BLOCK: Volume = { kind: "block", path: "/dev/vg/new", format: "raw" };

describe("adding a disk", () => {
  it("puts it after the others, indented as they are", () => {
    const xml = domainXml("virt-install-q35");
    const added = addDisk(xml, { dev: "vdz", volume: BLOCK });
    const start = added.indexOf("    <disk type='block'");
    expect(added.slice(start, added.indexOf("</disk>", start)).split("\n")).toEqual([
      "    <disk type='block' device='disk'>",
      "      <driver name='qemu' type='raw'/>",
      "      <source dev='/dev/vg/new'/>",
      "      <target dev='vdz' bus='virtio'/>",
      "    ",
    ]);
    expect(added.lastIndexOf("<disk ")).toBe(added.indexOf("<disk type='block'"));
  });

  it.each<[string, NewDisk["bus"], string]>([
    ["vdz", undefined, "virtio"],
    ["sdz", undefined, "scsi"],
    ["sdz", "sata", "sata"],
    ["hdd", undefined, "ide"],
  ])("puts %s on the bus that is said (%s), or that libvirt deduces: %s", (dev, bus, expected) => {
    const added = addDisk(domainXml("no-disks"), { dev, volume: FILE, ...(bus && { bus }) });
    expect(diskOf(added, dev)).toMatchObject({ bus: expected, volume: FILE, encrypted: false });
  });

  it("reaches an RBD image as the guest's other ones are reached", () => {
    const volume: Volume = { kind: "rbd", pool: "vms", namespace: "a", image: "new", format: "raw" };
    const alone = diskOf(addDisk(domainXml("no-disks"), { dev: "vda", volume }), "vda");
    expect(alone?.volume).toEqual(volume);
    const source =
      "<source protocol='rbd' name='vms/old'><host name='mon1' port='6789'/><auth username='libvirt'>" +
      "<secret type='ceph' usage='x'/></auth></source>";
    const xml = domainXml("virt-install-q35").replace(
      "<devices>",
      `<devices><disk type='network'>${source}<target dev='vdx'/></disk>`,
    );
    expect(diskOf(addDisk(xml, { dev: "vdz", volume }), "vdz")?.volume).toEqual({
      ...volume,
      user: "libvirt",
      monitors: ["mon1:6789"],
    });
  });

  it("refuses a name, and a volume, that the guest has", () => {
    const xml = domainXml("many-disks");
    const { volume } = diskOf(xml, "vdb")!;
    expect(refusalOf(() => addDisk(xml, { dev: "vdb", volume: BLOCK })).code).toBe("DISK_EXISTS");
    expect(refusalOf(() => addDisk(xml, { dev: "vdz", volume })).code).toBe("DISK_EXISTS");
  });

  it("refuses a volume that is given as a mapping, by its own name", () => {
    const volume: Volume = { kind: "block", path: "/dev/vg/vm1-root", format: "raw" };
    const act = () => addDisk(domainXml("mapped-disks"), { dev: "vdz", volume });
    expect(refusalOf(act).code).toBe("DISK_EXISTS");
  });

  it.each<Volume>([{ kind: "none" }, { kind: "other", description: "x" }, { ...BLOCK, format: "other" }])(
    "refuses what libvirt cannot be told: %j",
    (volume) => {
      expect(refusalOf(() => addDisk(domainXml("no-disks"), { dev: "vda", volume })).code).toBe(
        "VOLUME_UNSUPPORTED",
      );
    },
  );

  it("leaves every fixture valid, and comes back byte for byte", () => {
    const cases = DOMAINS.map(({ xml }) => ({ xml, added: addDisk(xml, { dev: "vdz", volume: FILE }) }));
    for (const { xml, added } of cases) {
      expect(diskOf(added, "vdz")).toMatchObject({ volume: FILE });
      expect(removeDisk(added, "vdz")).toBe(xml);
    }
    const valid = schemaValid(
      cases.map(({ xml }) => xml),
      "domain",
    );
    expect(
      schemaValid(
        cases.map(({ added }) => added),
        "domain",
      ),
    ).toEqual(valid);
  });
});

describe("removing a disk", () => {
  it("takes what the metadata say of it as well", () => {
    const left = removeDisk(domainXml("mapped-disks"), "vda");
    expect(left).not.toContain("vda");
    expect(diskOf(left, "vdb")).toMatchObject({ mapping: diskOf(domainXml("mapped-disks"), "vdb")!.mapping });
  });

  it("changes nothing for a disk that is not there", () => {
    expect(removeDisk(domainXml("many-disks"), "vdzz")).toBe(domainXml("many-disks"));
  });
});

describe("the text of a disk", () => {
  const disk = (inside: string) => `<disk type='file'><source file='/a'/><target dev='vda'/>${inside}</disk>`;
  const domain = (inside: string) => `<domain>\n<devices>${disk(inside)}</devices></domain>`;
  const place = "<boot order='1'/>\n<address type='pci' slot='0x03'/>";

  it("is as it stands, with or without its place", () => {
    const xml = domain(`${place}<serial>x</serial>`);
    expect(diskText(xml, "vda", "fixed")).toBe(disk(`${place}<serial>x</serial>`));
    expect(diskText(xml, "vda", "movable")).toBe(disk("\n<serial>x</serial>"));
    expect(diskText(domain(""), "vda", "movable")).toBe(disk(""));
    expect(refusalOf(() => diskText(xml, "vdb", "fixed")).code).toBe("DISK_NOT_FOUND");
  });
});

function diskOf(xml: string, dev: string) {
  return guestFromDomainXml(xml).disks.mapping[dev];
}
