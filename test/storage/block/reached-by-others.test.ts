import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { reachedByOthers } from "../../../src/storage/block/reached-by-others.js";

let sysfs: string;

beforeEach(() => {
  sysfs = mkdtempSync(join(tmpdir(), "luksmith-test-"));
  mkdirSync(join(sysfs, "block"));
});
afterEach(() => rmSync(sysfs, { recursive: true }));

/** As the kernel lays it out: a link for each number, which leads to the place of the device. */
function device(number: string, place: string, attributes: Record<string, string> = {}): void {
  const directory = join(sysfs, "devices", place);
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of Object.entries(attributes)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), `${text}\n`);
  }
  symlinkSync(directory, join(sysfs, "block", number));
}

function madeOf(place: string, below: string, number: string): void {
  const slave = join(sysfs, "devices", place, "slaves", below);
  mkdirSync(slave, { recursive: true });
  writeFileSync(join(slave, "dev"), `${number}\n`);
}

const reached = (number: string) => reachedByOthers(number, join(sysfs, "block"));

it.each([
  ["iSCSI", "platform/host2/session1/target2:0:0/2:0:0:1/block/sda", {}],
  ["Fibre Channel", "pci0000:00/host3/rport-3:0-1/target3:0:1/3:0:1:0/block/sdb", {}],
  ["DRBD", "virtual/block/drbd0", {}],
  ["RBD", "virtual/block/rbd0", {}],
  ["NVMe over fabrics", "virtual/nvme-fabrics/ctl/nvme1/nvme1n1", { "device/transport": "tcp" }],
  ["multipath", "virtual/block/dm-3", { "dm/uuid": "mpath-3600140512345" }],
])("tells storage that is reached by %s", (name, place, attributes) => {
  device("8:0", place, attributes);
  expect(reached("8:0")).toBe(name);
});

it("takes disks of this host for its own, and what is not there", () => {
  device("8:0", "pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda");
  device("259:0", "pci0000:00/nvme/nvme0/nvme0n1", { "device/transport": "pcie" });
  device("7:0", "virtual/block/loop0");
  for (const number of ["8:0", "259:0", "7:0", "9:9"]) expect(reached(number), number).toBeUndefined();
});

it("looks at partitions, and at what a device is made of", () => {
  device("8:17", "platform/host2/session1/target2:0:0/2:0:0:1/block/sdb/sdb1", { partition: "1" });
  device("259:1", "virtual/nvme-fabrics/ctl/nvme1/nvme1n1/nvme1n1p1", { partition: "1" });
  writeFileSync(join(sysfs, "devices/virtual/nvme-fabrics/ctl/nvme1/nvme1n1", "size"), "1\n");
  mkdirSync(join(sysfs, "devices/virtual/nvme-fabrics/ctl/nvme1/nvme1n1/device"));
  writeFileSync(join(sysfs, "devices/virtual/nvme-fabrics/ctl/nvme1/nvme1n1/device/transport"), "rdma\n");
  device("253:5", "virtual/block/dm-5", { "dm/uuid": "LVM-abc" });
  madeOf("virtual/block/dm-5", "sdb1", "8:17");
  expect(reached("8:17")).toBe("iSCSI");
  expect(reached("259:1")).toBe("NVMe over fabrics");
  expect(reached("253:5")).toBe("iSCSI");
});
