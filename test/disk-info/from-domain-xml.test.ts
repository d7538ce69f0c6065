import { describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { diskInfoFromDomain } from "../../src/disk-info/from-domain-xml.js";
import { parseDomain } from "../../src/guest-config/domain.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { DOMAINS, domainXml, INVALID_DOMAINS, ODD_PATHS } from "../fixtures/domains/domains.js";
import { schemaValid, xpathString } from "../fixtures/domains/xmllint.js";
import { refusalOf } from "../guest-config/refusal.js";

describe("the domain fixtures", () => {
  /** Newer than the libvirt that the schema comes from. */
  const newer = ["librbd-luks-any", "nvme-bus"];

  it("are what libvirt's own schema accepts", () => {
    const valid = schemaValid(
      DOMAINS.map(({ xml }) => xml),
      "domain",
    );
    const refused = DOMAINS.filter((_, index) => !valid.has(index)).map(({ name }) => name);
    expect(refused.filter((name) => !newer.includes(name))).toEqual([]);
  });

  it("become the guests of the golden file", async () => {
    const lines = DOMAINS.flatMap(({ name, xml }) => {
      const { id, name: guestName, disks, asks, tags } = guestFromDomainXml(xml);
      const { mapping, ...buses } = disks;
      const guest = { id, name: guestName, ...buses, tags };
      return [`# ${name}`, guest, ...Object.values(mapping), ...asks].map((line) =>
        typeof line === "string" ? line : JSON.stringify(line),
      );
    });
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot("guests.golden");
  });

  it("have the names, ids and paths that libvirt's parser reads in them", () => {
    for (const { xml } of DOMAINS) {
      const { id, name, disks } = guestFromDomainXml(xml);
      expect(name).toBe(xpathString(xml, "/domain/name"));
      expect(id).toBe(xpathString(xml, "/domain/uuid").toLowerCase());
      for (const { dev, volume, mapping } of Object.values(disks.mapping)) {
        if ((volume.kind !== "file" && volume.kind !== "block") || mapping !== undefined) continue;
        const source = `/domain/devices/disk[target/@dev='${dev}']/source`;
        expect(volume.path).toBe(xpathString(xml, `${source}/@file, ${source}/@dev`));
      }
    }
  });
});

it.each(INVALID_DOMAINS.map(({ name, xml }) => [name, xml]))("refuses %s", (_, xml) => {
  const error = refusalOf(() => guestFromDomainXml(xml));
  expect(error.code).toBe("GUEST_CONFIG_INVALID");
  expect(error.why).toMatch(/^[^\p{C}]+$/u);
});

it.each(ODD_PATHS.map(({ name, xml }) => [name, xml]))(
  "leaves a guest alone whose disk has an odd path, but has no storage backend for it: %s",
  (_, xml) => {
    const { volume } = guestFromDomainXml(xml).disks.mapping["vda"]!;
    expect(volume.kind).toBe("other");
    expect(volume.kind === "other" && volume.description).toMatch(/^[^\p{C}]+$/u);
  },
);

it("takes a name with control characters, as libvirt does", () => {
  const xml = domainXml("many-disks").replace(/<name>[^<]*</, "<name>\ta\u009bb<");
  expect(guestFromDomainXml(xml).name).toBe("\ta\u009bb");
});

it("tells which encrypted layers lie under a disk's own file", () => {
  const { mapping } = diskInfoOf("backing-chain-live");
  expect(mapping["vda"]?.backingSecretUuids).toEqual(["0d1e2f30-4152-4637-8495-a6b7c8d9eafb"]);
  expect(mapping["vdb"]).not.toHaveProperty("backingSecretUuids");
});

describe("buses", () => {
  it("takes the defaults from the first disk and the first CD-ROM drive", () => {
    expect(diskInfoOf("windows-sata-tpm")).toMatchObject({ disk_bus: "sata", cdrom_bus: "sata" });
    expect(diskInfoOf("boot-orders")).toMatchObject({ disk_bus: "virtio", cdrom_bus: "scsi" });
    // the CD-ROM drive comes first in the document
    expect(diskInfoOf("ovirt-metadata")).toMatchObject({ disk_bus: "scsi", cdrom_bus: "sata" });
  });

  it.each([
    ["kvm", "x86_64", "pc-q35-7.2", { disk_bus: "virtio", cdrom_bus: "sata" }],
    ["kvm", "x86_64", "pc-i440fx-7.2", { disk_bus: "virtio", cdrom_bus: "ide" }],
    ["kvm", "aarch64", "virt", { disk_bus: "virtio", cdrom_bus: "scsi" }],
    ["kvm", "s390x", "s390-ccw-virtio", { disk_bus: "virtio", cdrom_bus: "scsi" }],
    ["xen", "x86_64", "xenfv", { disk_bus: "xen", cdrom_bus: "ide" }],
  ])("without any disk goes by the machine: %s %s %s", (type, arch, machine, buses) => {
    const xml = `<domain type='${type}'><os><type arch='${arch}' machine='${machine}'>hvm</type></os></domain>`;
    expect(diskInfoFromDomain(parseDomain(xml))).toEqual({ ...buses, mapping: {} });
  });

  it.each([
    ["hda", "ide"],
    ["sda", "scsi"],
    ["vda", "virtio"],
    ["xvda", "xen"],
    ["ubda", "uml"],
    ["fda", "fdc"],
    ["nvme0n1", "nvme"],
  ])("deduces the bus from %s where the target has none: %s", (dev, bus) => {
    expect(disk(`<source file='/a'/><target dev='${dev}'/>`).bus).toBe(bus);
  });

  it("puts a floppy on fdc whatever it is called", () => {
    expect(disk("<target dev='vda'/>", "type='file' device='floppy'").bus).toBe("fdc");
  });
});

describe("boot_index", () => {
  it("is the disk's own boot order", () => {
    expect(indexesOf("boot-orders")).toEqual({ vda: undefined, vdb: 2, sda: 1, vdc: 10 });
  });

  it("is the place of the boot device for the first drive of each kind, and of no other", () => {
    expect(indexesOf("removable-drives")).toEqual({ fda: 1, fdb: undefined, hda: 4, hdc: 3, sda: undefined });
    expect(indexesOf("virt-install-i440fx")).toEqual({ hda: 2, hdb: undefined, hdc: 1 });
  });
});

describe("volumes", () => {
  it("takes a disk without a driver type for raw, as libvirt does", () => {
    expect(disk("<source file='/a'/><target dev='vda'/>").volume).toEqual({
      kind: "file",
      path: "/a",
      format: "raw",
    });
  });

  it("keeps a path exactly as it is written", () => {
    expect(diskInfoOf("shell-characters").mapping["vda"]?.volume).toMatchObject({
      path: "/srv/vm/$(touch pwned)/-rf; rm *.img",
    });
    expect(diskInfoOf("entities").mapping["vda"]?.volume).toMatchObject({
      path: `/srv/vm/R&D/"one" 'two' <3>.img`,
    });
  });

  it("knows an empty drive, also one with a startup policy", () => {
    expect(diskInfoOf("removable-drives").mapping["fdb"]?.volume).toEqual({ kind: "none" });
    expect(diskInfoOf("ovirt-metadata").mapping["sdc"]?.volume).toEqual({ kind: "none" });
  });

  it.each([
    ["a transient disk: its overlay is plaintext", "unencryptable", "vda"],
    ["a slice: a header would stand at the start of the whole file", "unencryptable", "vdb"],
    ["a file descriptor", "unencryptable", "vdh"],
    ["a SCSI LUN", "lun-passthrough", "sda"],
    ["a network disk", "network-disks", "vda"],
    ["a storage volume", "storage-volumes", "vda"],
    ["a directory", "unencryptable", "vde"],
    ["an NVMe namespace", "unencryptable", "vdf"],
    ["a vhost-user disk", "unencryptable", "vdg"],
  ])("offers no storage backend %s", (_, fixture, dev) => {
    expect(diskInfoOf(fixture).mapping[dev]?.volume.kind).toBe("other");
  });

  it("knows whether a path of this host stays hidden, for rules about storage", () => {
    const hidden = (fixture: string) =>
      Object.values(diskInfoOf(fixture).mapping).flatMap(({ dev, volume }) =>
        volume.kind === "other" && volume.pathUnknown ? [dev] : [],
      );
    expect(hidden("storage-volumes")).toEqual(["vda", "vdb", "sda"]);
    expect(hidden("unencryptable")).toEqual(["vdh"]);
    expect(hidden("network-disks")).toEqual([]);
    expect(diskInfoOf("unencryptable").mapping["vde"]?.volume).toMatchObject({ path: "/srv/share" });
    // what a libvirt to come may bring
    expect(disk("<source/><target dev='vda'/>", "type='hologram'").volume).toMatchObject({
      pathUnknown: true,
    });
  });

  describe("is an RBD image", () => {
    const rbd = (name: string, inside = "") =>
      disk(`<source protocol='rbd' name='${name}'>${inside}</source><target dev='vda'/>`, "type='network'")
        .volume;

    it("with its pool, namespace, user, configuration and monitors", () => {
      const inside =
        "<host name='mon1' port='6789'/><host name='fd00::1' port='3300'/><host name='mon3'/>" +
        "<auth username='libvirt'><secret type='ceph' usage='x'/></auth><config file='/etc/ceph/two.conf'/>";
      expect(rbd("vms/team a/disk,1", inside)).toEqual({
        kind: "rbd",
        pool: "vms",
        namespace: "team a",
        image: "disk,1",
        format: "raw",
        user: "libvirt",
        conf: "/etc/ceph/two.conf",
        monitors: ["mon1:6789", "[fd00::1]:3300", "mon3"],
      });
      expect(rbd("vms/disk")).toEqual({ kind: "rbd", pool: "vms", image: "disk", format: "raw" });
    });

    it.each(["", "vms", "vms/", "/disk", "vms//disk", "a/b/c/d", "vms/disk@snapshot"])(
      "but not as %j",
      (name) => {
        expect(rbd(name).kind).toBe("other");
      },
    );

    it("but not when the guest sees a snapshot of it, or QEMU only a part", () => {
      expect(rbd("vms/disk", "<snapshot name='before'/>").kind).toBe("other");
      expect(rbd("vms/disk", "<slices><slice type='storage' offset='0' size='512'/></slices>").kind).toBe(
        "other",
      );
    });
  });

  it("says what else it is, with control characters made visible", () => {
    const { volume } = disk("<source protocol='rbd' name='a&#10;b'/><target dev='vda'/>", "type='network'");
    expect(volume).toEqual({ kind: "other", description: "network disk rbd/a\\u{a}b" });
  });
});

describe("encryption", () => {
  it("is read in the source and beside it", () => {
    expect(diskInfoOf("luks-in-source").mapping["vda"]).toMatchObject({
      encrypted: true,
      encryption_format: "luks",
      encryption_secret_uuid: "11111111-aaaa-4bbb-8ccc-000000000001",
    });
    expect(diskInfoOf("luks-beside-source").mapping["vda"]).toMatchObject({
      encrypted: true,
      encryption_format: "luks",
      encryption_secret_uuid: "22222222-aaaa-4bbb-8ccc-000000000001",
    });
  });

  it("is not that of a backing file", () => {
    expect(diskInfoOf("backing-chain-live").mapping["vda"]).toMatchObject({ encrypted: false });
  });

  it("gives the UUID in lower case, and what else the block says as options", () => {
    expect(diskInfoOf("luks-in-source").mapping["vdb"]).toMatchObject({
      encryption_secret_uuid: "11111111-aaaa-4bbb-8ccc-000000000002",
      encryption_options: { engine: "qemu", "cipher.name": "aes", "ivgen.name": "plain64" },
    });
  });

  it("is there and foreign where it is none of Nova's formats, or names no single secret", () => {
    const legacy = diskInfoOf("luks-beside-source").mapping;
    expect(legacy["vdb"]).toMatchObject({ encrypted: true, encryption_options: { format: "qcow" } });
    expect(legacy["vdb"]).not.toHaveProperty("encryption_format");
    const layered = diskInfoOf("librbd-luks-any").mapping["vda"];
    expect(layered).toMatchObject({
      encrypted: true,
      encryption_options: { format: "luks-any", engine: "librbd" },
    });
    expect(layered).not.toHaveProperty("encryption_secret_uuid");
    expect(diskInfoOf("luks-in-source").mapping["vdc"]).not.toHaveProperty("encryption_secret_uuid");
  });
});

it("knows Nova's swap disks, as file and as logical volume", () => {
  expect(diskInfoOf("nova-1.1-asks").mapping["vdc"]?.format).toBe("swap");
  expect(diskInfoOf("nova-1.1-cinder").mapping["vdb"]?.format).toBe("swap");
  expect(diskInfoOf("nova-1.1-asks").mapping["vdb"]).not.toHaveProperty("format");
});

function diskInfoOf(fixture: string) {
  return diskInfoFromDomain(parseDomain(domainXml(fixture)));
}

function indexesOf(fixture: string): Record<string, number | undefined> {
  const disks = Object.values(diskInfoOf(fixture).mapping);
  return Object.fromEntries(disks.map(({ dev, boot_index }) => [dev, boot_index]));
}

function disk(content: string, attributes = "type='file'"): DiskMapping {
  const xml = `<domain><devices><disk ${attributes}>${content}</disk></devices></domain>`;
  return Object.values(diskInfoFromDomain(parseDomain(xml)).mapping)[0]!;
}
