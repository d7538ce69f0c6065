import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addEncryptionBlocks, removeEncryptionBlocks } from "../../src/guest-config/domain-annotator.js";
import { diskInfoFromDomain } from "../../src/disk-info/from-domain-xml.js";
import { diskElements, parseDomain } from "../../src/guest-config/domain.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { EncryptionBlock, Guest } from "../../src/host/host-adapter.js";
import { type KeyUuid, newKeyUuid, parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { DOMAINS, domainXml } from "../fixtures/domains/domains.js";
import { canonicalXml, schemaValid } from "../fixtures/domains/xmllint.js";
import { refusalOf } from "./refusal.js";

const UUID = uuid("7f3a0c54-9b1e-4d27-8a60-1c2d3e4f5a6b");

describe("addEncryptionBlocks", () => {
  it("puts the block into a self-closing source, indented as its surroundings", () => {
    expect(annotatedDisk("virt-install-q35", "vda")).toEqual([
      "    <disk type='file' device='disk'>",
      "      <driver name='qemu' type='qcow2' discard='unmap'/>",
      "      <source file='/var/lib/libvirt/images/debian12.qcow2'>",
      '        <encryption format="luks">',
      `          <secret type="passphrase" uuid="${UUID}"/>`,
      "        </encryption>",
      "      </source>",
      "      <target dev='vda' bus='virtio'/>",
      "      <address type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'/>",
      "    </disk>",
    ]);
  });

  it("puts the block after what the source has already", () => {
    expect(annotatedDisk("seclabels", "vda").slice(2, 12)).toEqual([
      "      <source file='/srv/vm/labelled/a.img' startupPolicy='mandatory'>",
      "        <seclabel model='selinux' labelskip='yes'/>",
      "        <seclabel model='dac' relabel='yes'>",
      "          <label>libvirt-qemu:kvm</label>",
      "        </seclabel>",
      '        <encryption format="luks">',
      `          <secret type="passphrase" uuid="${UUID}"/>`,
      "        </encryption>",
      "      </source>",
      "      <target dev='vda' bus='virtio'/>",
    ]);
  });

  it("uses tabs and CRLF where the document does", () => {
    expect(annotatedDisk("source-shapes", "vda").slice(2, 5)).toEqual([
      '\t\t\t\t<encryption format="luks">',
      `\t\t\t\t\t<secret type="passphrase" uuid="${UUID}"/>`,
      "\t\t\t\t</encryption>",
    ]);
    const annotated = addEncryptionBlocks(domainXml("crlf"), blocksFor(["vda"]));
    expect(annotated.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
  });

  it("leaves the backing chain, a mirror and what only looks like a source alone", () => {
    for (const [name, dev] of [
      ["backing-chain-live", "vda"],
      ["block-copy-mirror", "vda"],
      ["comments-pi-cdata", "vda"],
      ["comments-pi-cdata", "vdd"],
    ] as const) {
      const annotated = addEncryptionBlocks(domainXml(name), blocksFor([dev]));
      expect(secretsOf(annotated)).toEqual(new Map([...secretsOf(domainXml(name)), [dev, UUID]]));
    }
  });

  it("changes nothing where the very block is there already, in the source or beside it", () => {
    const once = addEncryptionBlocks(domainXml("many-disks"), blocksFor(["vda", "vdp"]));
    expect(addEncryptionBlocks(once, blocksFor(["vdp", "vda"]))).toBe(once);
    const old = domainXml("luks-beside-source");
    const block: EncryptionBlock = {
      format: "luks",
      secretUuid: uuid("22222222-aaaa-4bbb-8ccc-000000000001"),
    };
    expect(addEncryptionBlocks(old, new Map([["vda", block]]))).toBe(old);
  });

  it.each([
    ["luks-in-source", "vda", "another UUID"],
    ["luks-in-source", "vdc", "a secret named by usage"],
    ["luks-beside-source", "vda", "another UUID, beside the source"],
    ["luks-beside-source", "vdb", "the qcow format"],
    ["luks-beside-source", "vdc", "no secret"],
    ["librbd-luks2", "vda", "LUKS2"],
    ["librbd-luks-any", "vda", "layers"],
  ])("refuses to touch the foreign block of %s %s (%s)", (name, dev) => {
    const act = () => addEncryptionBlocks(domainXml(name), blocksFor([dev]));
    expect(refusalOf(act).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
  });

  it("refuses a block of the same UUID that another engine opens", () => {
    const block: EncryptionBlock = {
      format: "luks",
      secretUuid: uuid("33333333-aaaa-4bbb-8ccc-000000000002"),
    };
    const act = () => addEncryptionBlocks(domainXml("librbd-luks2"), new Map([["vdb", block]]));
    expect(refusalOf(act).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
  });

  it("names an engine where one is chosen, and then takes that one only for its own", () => {
    const librbd = new Map([["vda", { format: "luks", secretUuid: UUID, engine: "librbd" }]] as const);
    const xml = domainXml("virt-install-q35");
    const annotated = addEncryptionBlocks(xml, librbd);
    expect(annotated).toContain('<encryption format="luks" engine="librbd">');
    expect(addEncryptionBlocks(annotated, librbd)).toBe(annotated);
    const act = () => addEncryptionBlocks(annotated, blocksFor(["vda"]));
    expect(refusalOf(act).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
    expect(removeEncryptionBlocks(annotated, librbd)).toBe(xml);
  });

  it("refuses a disk that the guest does not have, and one in a comment", () => {
    const act = () => addEncryptionBlocks(domainXml("comments-pi-cdata"), blocksFor(["vdc"]));
    expect(refusalOf(act).code).toBe("DISK_NOT_FOUND");
    expect(refusalOf(() => addEncryptionBlocks(domainXml("no-disks"), blocksFor(["constructor"]))).code).toBe(
      "DISK_NOT_FOUND",
    );
  });

  it("refuses an empty drive", () => {
    const act = () => addEncryptionBlocks(domainXml("virt-install-i440fx"), blocksFor(["hda", "hdc"]));
    expect(refusalOf(act).code).toBe("VOLUME_UNSUPPORTED");
  });
});

describe("removeEncryptionBlocks", () => {
  it("refuses a block that it was not told about", () => {
    const act = () => removeEncryptionBlocks(domainXml("luks-in-source"), blocksFor(["vda"]));
    expect(refusalOf(act).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
  });

  it("leaves a disk without a block as it is", () => {
    const xml = domainXml("luks-in-source");
    expect(removeEncryptionBlocks(xml, blocksFor(["vdd"]))).toBe(xml);
  });

  it("removes a block that libvirt has printed, and the one beside the source that old libvirts printed", () => {
    const block = (text: string): EncryptionBlock => ({ format: "luks", secretUuid: uuid(text) });
    const inside = removeEncryptionBlocks(
      domainXml("luks-in-source"),
      new Map([["vda", block("11111111-aaaa-4bbb-8ccc-000000000001")]]),
    );
    expect(inside).toContain(
      "      <source file='/srv/vm/vault/root.img'/>\n      <target dev='vda' bus='virtio'/>\n",
    );
    const beside = removeEncryptionBlocks(
      domainXml("luks-beside-source"),
      new Map([["vda", block("22222222-aaaa-4bbb-8ccc-000000000001")]]),
    );
    expect(beside).toContain("      <target dev='vda' bus='virtio'/>\n    </disk>\n");
  });
});

describe("every fixture, for every disk, some sets of disks and all of them", () => {
  const cases = DOMAINS.flatMap(({ name, xml }) =>
    setsOf(annotatableDisks(xml)).map((devs) => {
      const blocks = new Map(devs.map((dev) => [dev, { format: "luks", secretUuid: newKeyUuid() } as const]));
      return { name, xml, blocks, annotated: addEncryptionBlocks(xml, blocks) };
    }),
  );

  it("has the blocks that were asked for and no other, and nothing else of the guest differs", () => {
    for (const { xml, blocks, annotated } of cases) {
      const wanted = new Map([
        ...secretsOf(xml),
        ...[...blocks].map(([dev, b]) => [dev, b.secretUuid] as const),
      ]);
      expect(secretsOf(annotated)).toEqual(wanted);
      expect(withoutBlocks(guestFromDomainXml(annotated))).toEqual(withoutBlocks(guestFromDomainXml(xml)));
    }
  });

  it("is canonically the original plus the blocks", () => {
    for (const { xml, blocks, annotated } of cases) {
      const uuids = [...blocks.values()].map(({ secretUuid }) => secretUuid).join("|");
      const block = new RegExp(
        `<encryption format="luks"><secret type="passphrase" uuid="(?:${uuids})"></secret></encryption>`,
        "g",
      );
      const without = canonical(annotated).replaceAll(block, "");
      expect(without).toBe(canonical(xml));
    }
  });

  it("is still valid where the original is, as libvirt's schema has it", () => {
    const local = cases.filter(({ xml, blocks }) => [...blocks.keys()].every((dev) => isLocal(xml, dev)));
    const valid = schemaValid(
      local.map(({ xml }) => xml),
      "domain",
    );
    const stillValid = schemaValid(
      local.map(({ annotated }) => annotated),
      "domain",
    );
    expect(stillValid).toEqual(valid);
    expect(valid.size).toBeGreaterThan(local.length * 0.95);
  });

  it("comes back byte for byte, all at once or one block after the other", () => {
    for (const { xml, blocks, annotated } of cases) {
      expect(removeEncryptionBlocks(annotated, blocks)).toBe(xml);
      const oneByOne = [...blocks].reduce(
        (left, entry) => removeEncryptionBlocks(left, new Map([entry])),
        annotated,
      );
      expect(oneByOne).toBe(xml);
    }
  });
});

it("any source, however it is written, comes back byte for byte", () => {
  fc.assert(
    fc.property(
      fc.array(diskText(), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("\n", "\r\n"),
      (disks, newline) => {
        const devs = disks.map((_, index) => `vd${String.fromCharCode(97 + index)}`);
        const xml =
          `<domain><devices>${disks.map((disk, index) => disk.replace("@", devs[index]!)).join("")}</devices></domain>`.replaceAll(
            "\n",
            newline,
          );
        const blocks = blocksFor(devs);
        const annotated = addEncryptionBlocks(xml, blocks);
        expect([...secretsOf(annotated).values()]).toEqual(devs.map(() => UUID));
        expect(addEncryptionBlocks(annotated, blocks)).toBe(annotated);
        expect(removeEncryptionBlocks(annotated, blocks)).toBe(xml);
      },
    ),
    { numRuns: 300 },
  );
});

/** A `<disk>` with a device name `@` and white space, comments and elements where XML allows them. */
function diskText(): fc.Arbitrary<string> {
  const space = fc.constantFrom("", "", " ", "\n", "\n  ", "\n\n\t", "  \n    ");
  const item = fc.constantFrom(
    "<!-- </source> <encryption/> -->",
    "<seclabel model='dac' relabel='no'/>",
    "<reservations managed='no'>\n<source type='unix'/> </reservations>",
    "<![CDATA[</source>]]>",
    "<![CDATA[ ]]>",
    "<?pi <source/> ?>",
    "&#32;",
    "text",
    "🔐",
  );
  const content = fc.array(fc.tuple(space, item), { maxLength: 3 }).map((items) => items.flat().join(""));
  const source = fc
    .record({
      content,
      inner: space,
      before: space,
      selfClosing: fc.boolean(),
      path: fc.constantFrom("/a", "/>"),
    })
    .map(({ content: inside, inner, before, selfClosing, path }) => {
      const start = `<source file='${path}'${before}`;
      return selfClosing ? `${start}/>` : `${start}>${inside}${inner}</source${before}>`;
    });
  const parts = fc.tuple(space, source, space, fc.constant("<target dev='@'/>"), space);
  return parts.map(([a, b, c, d, e]) => `${a}<disk type='file'>${a}${b}${c}${d}${e}</disk>`);
}

function uuid(text: string): KeyUuid {
  return parseKeyUuid(text)!;
}

function blocksFor(devs: readonly string[]): ReadonlyMap<string, EncryptionBlock> {
  return new Map(devs.map((dev) => [dev, { format: "luks", secretUuid: UUID }]));
}

/** The lines of the annotated `<disk>`. */
function annotatedDisk(name: string, dev: string): string[] {
  const annotated = addEncryptionBlocks(domainXml(name), blocksFor([dev]));
  const { start, end } = diskElements(parseDomain(annotated)).get(dev)!.span;
  return annotated.slice(annotated.lastIndexOf("\n", start) + 1, end).split("\n");
}

function secretsOf(xml: string): ReadonlyMap<string, KeyUuid | undefined> {
  const disks = Object.values(guestDisks(xml)).filter(({ encrypted }) => encrypted);
  return new Map(disks.map((disk) => [disk.dev, disk.encryption_secret_uuid]));
}

/** All of the guest but the text and what the blocks say. */
function withoutBlocks(guest: Guest): unknown {
  const { mapping, ...buses } = guest.disks;
  const disks = Object.values(mapping).map(({ dev, bus, type, boot_index, format, volume, readOnly }) => {
    return { dev, bus, type, boot_index, format, volume, readOnly };
  });
  return { ...guest, configuration: undefined, disks: { ...buses, disks } };
}

function guestDisks(xml: string) {
  return diskInfoFromDomain(parseDomain(xml)).mapping;
}

function annotatableDisks(xml: string): string[] {
  const disks = [...diskElements(parseDomain(xml))];
  const bare = disks.filter(([dev, disk]) => disk.element("source") && !guestDisks(xml)[dev]!.encrypted);
  return bare.map(([dev]) => dev);
}

/** libvirt's schema has a place for the block in every file and block device; not so for every network protocol. */
function isLocal(xml: string, dev: string): boolean {
  return ["file", "block"].includes(guestDisks(xml)[dev]!.volume.kind);
}

/** All sets of up to four disks; of more, each alone, every second, and all. */
function setsOf(devs: readonly string[]): string[][] {
  if (devs.length <= 4) {
    return Array.from({ length: 2 ** devs.length - 1 }, (_, n) =>
      devs.filter((__, index) => (n + 1) & (1 << index)),
    );
  }
  return [...devs.map((dev) => [dev]), devs.filter((_, index) => index % 2 === 0), [...devs]];
}

/** White space between tags says nothing to libvirt, and the annotator adds some. */
function canonical(xml: string): string {
  return canonicalXml(xml).replaceAll(/>\s+</g, "><");
}
