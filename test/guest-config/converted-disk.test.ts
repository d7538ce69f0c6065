import { describe, expect, test } from "vitest";
import { annotateDomain, unannotateDomain } from "../../src/guest-config/annotations.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { DiskAnnotation } from "../../src/host/host-adapter.js";
import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import type { PathVolume } from "../../src/storage/volume.js";

const key = (n: number) => parseKeyUuid(`00000000-0000-4000-8000-00000000000${n}`)!;
const block = (path: string): PathVolume => ({ kind: "block", path, format: "raw" });

const DOMAIN = `<domain type='kvm'>
  <name>web1</name>
  <uuid>0123abcd-4567-489a-8bcd-ef0123456789</uuid>
  <devices>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw'/>
      <source dev='/dev/mapper/vm1-dmcrypt'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>`;

const plain: DiskAnnotation = {
  ...{ format: "plain", secretUuid: key(1), mapping: "vm1-dmcrypt", volume: block("/dev/vg/vm1") },
};
const annotated = (annotation: DiskAnnotation) => new Map([["vda", annotation]]);

describe("a disk that Nova encrypted", () => {
  const adopted = annotateDomain(DOMAIN, annotated(plain));
  const diskOf = (xml: string) => guestFromDomainXml(xml).disks.mapping["vda"];

  test("is annotated without a change of its source", () => {
    expect(adopted).toContain("<source dev='/dev/mapper/vm1-dmcrypt'/>");
    expect(diskOf(adopted)).toMatchObject({
      ...{ encryption_format: "plain", mapping: "vm1-dmcrypt", volume: block("/dev/vg/vm1") },
      encryption_secret_uuid: key(1),
    });
  });

  test.each<[string, DiskAnnotation, PathVolume]>([
    [
      "that QEMU decrypts",
      { format: "luks", secretUuid: key(2), volume: block("/dev/vg/vm1-luks") },
      block("/dev/vg/vm1-luks"),
    ],
    [
      "in an image file",
      { format: "luks", secretUuid: key(2), volume: { kind: "file", path: "/srv/a&'b.raw", format: "raw" } },
      { kind: "file", path: "/srv/a&'b.raw", format: "raw" },
    ],
    [
      "that dm-crypt decrypts",
      {
        ...{ format: "luks", secretUuid: key(2), mapping: `luksmith-x-${key(2)}` },
        volume: block("/dev/vg/vm1-luks"),
      },
      block("/dev/vg/vm1-luks"),
    ],
  ])("becomes another volume, %s, and can become the old one again", (_, annotation, volume) => {
    const converted = annotateDomain(adopted, annotated(annotation), annotated(plain));

    expect(diskOf(converted)).toMatchObject({
      volume,
      encryption_format: "luks",
      encryption_secret_uuid: key(2),
    });
    expect(converted).not.toContain("dmcrypt");
    expect(annotateDomain(converted, annotated(annotation), annotated(plain))).toBe(converted);
    const back = unannotateDomain(converted, annotated(annotation), annotated(plain));
    expect(diskOf(back)).toEqual(diskOf(adopted));
  });
});
