import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mappingName } from "../../src/encryption/dm-crypt/mapping-name.js";
import { annotateDomain, unannotateDomain } from "../../src/guest-config/annotations.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Annotations, DiskAnnotation, Guest, MappingAnnotation } from "../../src/host/host-adapter.js";
import { type KeyUuid, newKeyUuid, parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { isMappable, type PathVolume } from "../../src/storage/volume.js";
import { DOMAINS, domainXml } from "../fixtures/domains/domains.js";
import { canonicalXml, schemaValid } from "../fixtures/domains/xmllint.js";
import { refusalOf } from "./refusal.js";

const UUID = parseKeyUuid("7f3a0c54-9b1e-4d27-8a60-1c2d3e4f5a6b")!;
const OTHER = parseKeyUuid("8a4b1d65-ac2f-4e38-9b71-2d3e4f5a6b7c")!;

describe("a mapping", () => {
  it("takes the source's place, and the metadata say what lies under it", () => {
    const xml = domainXml("luksmith-metadata");
    const annotated = annotateDomain(xml, new Map([["vda", mapped(xml, "vda", UUID)]]));
    expect(changes(xml, annotated)).toEqual([
      '+    <luksmith:mappings xmlns:luksmith="urn:luksmith:mappings:1">',
      `+      <luksmith:mapping dev="vda" name="luksmith-db1-root.img-${UUID}" type="file" volume='/srv/vm/finance/db1-root.img' format="luks" secret="${UUID}"/>`,
      "+    </luksmith:mappings>",
      "-    <disk type='file' device='disk'>",
      "+    <disk type='block' device='disk'>",
      "-      <source file='/srv/vm/finance/db1-root.img'/>",
      `+      <source dev='/dev/mapper/luksmith-db1-root.img-${UUID}'/>`,
    ]);
  });

  it("joins the others, and leaves them when it goes", () => {
    const xml = domainXml("mapped-disks");
    const annotations = new Map([["vde", mapped(xml, "vde", OTHER)]]);
    const annotated = annotateDomain(xml, annotations);
    expect(changes(xml, annotated)[0]).toBe(
      `+      <luksmith:mapping dev="vde" name="luksmith-vg-foreign-${OTHER}" type="block" volume='/dev/mapper/vg-foreign' format="luks" secret="${OTHER}"/>`,
    );
    expect(unannotateDomain(annotated, annotations)).toBe(xml);
  });

  it("makes the metadata element where there is none", () => {
    const xml = domainXml("virt-install-i440fx").replace(/ *<metadata>[^]*<\/metadata>\n/, "");
    const annotations = new Map([["hda", mapped(xml, "hda", UUID, { path: "/images/a b.raw" })]]);
    const annotated = annotateDomain(xml, annotations);
    expect(changes(xml, annotated).slice(0, 5)).toEqual([
      "+  <metadata>",
      '+    <luksmith:mappings xmlns:luksmith="urn:luksmith:mappings:1">',
      `+      <luksmith:mapping dev="hda" name="luksmith-a_b.raw-${UUID}" type="file" volume='/images/a b.raw' format="luks" secret="${UUID}"/>`,
      "+    </luksmith:mappings>",
      "+  </metadata>",
    ]);
  });

  it("is there once, however often it is written", () => {
    const xml = domainXml("many-disks");
    const annotations = new Map([["vda", mapped(xml, "vda", UUID)]]);
    const once = annotateDomain(xml, annotations);
    expect(annotateDomain(once, annotations)).toBe(once);
    expect(unannotateDomain(xml, annotations)).toBe(xml);
  });

  it("takes the place of an entry that the disk's source has left", () => {
    const xml = domainXml("mapped-disks");
    const annotated = annotateDomain(xml, new Map([["vdd", mapped(xml, "vdd", OTHER)]]));
    expect(annotated.match(/dev="vdd"/g)).toHaveLength(1);
    expect(disksOf(annotated)["vdd"]).toMatchObject({
      encryption_secret_uuid: OTHER,
      volume: { path: "/dev/vg/new" },
    });
  });

  it("can be over another volume than the disk has now", () => {
    const xml = domainXml("many-disks");
    const volume: PathVolume = { kind: "block", path: `/dev/vg/a'b"c<&`, format: "raw" };
    const annotations = new Map([["vda", { ...mapped(xml, "vda", UUID), volume }]]);
    const annotated = annotateDomain(xml, annotations);
    expect(disksOf(annotated)["vda"]).toMatchObject({ volume, encryption_secret_uuid: UUID });
    expect(disksOf(unannotateDomain(annotated, annotations))["vda"]).toMatchObject({
      volume,
      encrypted: false,
    });
  });

  it.each([
    ["luks-in-source", "vda", "an encryption block"],
    ["mapped-disks", "vda", "another mapping"],
  ])("does not take the place of what it was not told of: %s %s (%s)", (name, dev) => {
    const xml = domainXml(name);
    const annotation = mapped(xml, dev, OTHER);
    expect(refusalOf(() => annotateDomain(xml, new Map([[dev, annotation]]))).code).toBe(
      "ENCRYPTION_BLOCK_FOREIGN",
    );
    expect(refusalOf(() => unannotateDomain(xml, new Map([[dev, annotation]]))).code).toBe(
      "ENCRYPTION_BLOCK_FOREIGN",
    );
  });

  it("is not one of the same name that says something else about its volume", () => {
    const xml = domainXml("many-disks");
    const annotation = mapped(xml, "vda", UUID);
    const annotated = annotateDomain(xml, new Map([["vda", annotation]]));
    const others: MappingAnnotation[] = [
      { ...annotation, format: "luksv2" },
      { ...annotation, volume: { ...annotation.volume, path: "/dev/vg/other" } },
      {
        ...annotation,
        volume: { ...annotation.volume, kind: annotation.volume.kind === "file" ? "block" : "file" },
      },
      { ...annotation, secretUuid: OTHER },
      { ...annotation, mapping: "vm1-dmcrypt" },
    ];
    for (const other of others) {
      const act = () => annotateDomain(annotated, new Map([["vda", other]]));
      expect(refusalOf(act).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
    }
  });

  it("is nothing for a disk that is neither a file nor a block device", () => {
    const volume: PathVolume = { kind: "block", path: "/dev/vg/a", format: "raw" };
    const annotation: MappingAnnotation = {
      format: "luks",
      secretUuid: UUID,
      mapping: mappingName(volume, UUID),
      volume,
    };
    for (const [name, dev] of [
      ["network-disks", "vda"],
      ["removable-drives", "fdb"],
    ] as const) {
      const act = () => annotateDomain(domainXml(name), new Map([[dev, annotation]]));
      expect(refusalOf(act).code).toBe("VOLUME_UNSUPPORTED");
    }
  });

  it("is not written beside metadata that cannot be understood", () => {
    const xml = domainXml("mapped-disks").replace('format="luksv2"', 'format="luks9"');
    const act = () => annotateDomain(xml, new Map([["vde", mapped(xml, "vde", OTHER)]]));
    expect(refusalOf(act).code).toBe("GUEST_CONFIG_INVALID");
  });
});

describe("a block that brings another volume", () => {
  const xml = domainXml("many-disks");
  const volume: PathVolume = { kind: "block", path: "/dev/vg/new&improved", format: "raw" };
  const annotation: DiskAnnotation = { format: "luks", secretUuid: OTHER, volume };
  const mappings = new Map([["vda", mapped(xml, "vda", UUID)]]);
  const blocks = new Map([["vda", annotation]]);

  it("points the disk there in the same change, and comes back where it was", () => {
    const before = annotateDomain(xml, mappings);
    const after = annotateDomain(before, blocks, mappings);
    expect(disksOf(after)["vda"]).toMatchObject({ volume, encryption_secret_uuid: OTHER });
    expect(disksOf(after)["vda"]).not.toHaveProperty("mapping");
    expect(annotateDomain(after, blocks, mappings)).toBe(after);
    expect(disksOf(unannotateDomain(after, blocks, mappings))).toEqual(disksOf(before));
  });

  it("is not one over the volume that the disk has now", () => {
    const here = annotateDomain(xml, new Map([["vda", { format: "luks", secretUuid: OTHER } as const]]));
    expect(refusalOf(() => annotateDomain(here, blocks)).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
  });
});

describe("switching who decrypts, in one change", () => {
  const xml = domainXml("many-disks");
  const block: DiskAnnotation = { format: "luks", secretUuid: UUID };
  const mapping = mapped(xml, "vda", UUID);
  const [blocks, mappings] = [new Map([["vda", block]]), new Map([["vda", mapping]])] as const;
  const ways: [string, Annotations, Annotations][] = [
    ["a block by a mapping", mappings, blocks],
    ["a mapping by a block", blocks, mappings],
  ];

  it.each(ways)("replaces %s, and comes back byte for byte", (_, added, replaced) => {
    const before = annotateDomain(xml, replaced);
    const after = annotateDomain(before, added, replaced);
    expect(after).toBe(annotateDomain(xml, added));
    expect(annotateDomain(after, added, replaced)).toBe(after);
    expect(unannotateDomain(after, added, replaced)).toBe(before);
    // the change was never made
    expect(unannotateDomain(before, added, replaced)).toBe(before);
    expect(unannotateDomain(unannotateDomain(after, added), replaced)).toBe(xml);
  });

  it("annotates a disk that has lost what was to be replaced", () => {
    expect(annotateDomain(xml, mappings, blocks)).toBe(annotateDomain(xml, mappings));
  });

  it("replaces nothing else", () => {
    const foreign = new Map([["vda", { ...block, secretUuid: OTHER }]]);
    const act = () => annotateDomain(annotateDomain(xml, foreign), mappings, blocks);
    expect(refusalOf(act).code).toBe("ENCRYPTION_BLOCK_FOREIGN");
  });
});

describe("every fixture, for each disk that can be mapped and for all of them", () => {
  const cases = DOMAINS.flatMap(({ name, xml }) => {
    const devs = mappableDisks(xml);
    return [...devs.map((dev) => [dev]), devs].map((set) => {
      const annotations = new Map(set.map((dev) => [dev, mapped(xml, dev, newKeyUuid())]));
      return { name, xml, annotations, annotated: annotateDomain(xml, annotations) };
    });
  });

  it("has the mappings that were asked for over the volumes that the disks had, and nothing else differs", () => {
    expect(cases.length).toBeGreaterThan(60);
    for (const { xml, annotations, annotated } of cases) {
      const [before, after] = [guestFromDomainXml(xml), guestFromDomainXml(annotated)];
      const wanted = Object.values(before.disks.mapping).map((disk) => {
        const annotation = annotations.get(disk.dev);
        if (annotation === undefined) return disk;
        const { format, secretUuid, mapping } = annotation;
        return {
          ...disk,
          encrypted: true,
          encryption_format: format,
          encryption_secret_uuid: secretUuid,
          mapping,
        };
      });
      expect(Object.values(after.disks.mapping)).toEqual(wanted);
      const rest = { configuration: undefined, disks: undefined };
      expect({ ...after, ...rest }).toEqual({ ...before, ...rest });
    }
  });

  it("is canonically the original but for the sources and our element", () => {
    for (const { xml, annotations, annotated } of cases) {
      const without = canonical(annotated)
        .replace(/<luksmith:mappings [^]*?<\/luksmith:mappings>/, "")
        .replaceAll(/ type="block"| dev="\/dev\/mapper\/[^"]*"/g, "");
      const volumes = [...annotations.values()].map(({ volume }) => volume.path);
      const original = canonical(xml)
        .replaceAll(/ type="(?:block|file)"/g, "")
        .replaceAll(/ (?:file|dev)="([^"]*)"/g, (text, path: string) =>
          volumes.includes(decoded(path)) ? "" : text,
        )
        .replace(/<luksmith:mappings [^]*?<\/luksmith:mappings>/, "")
        .replaceAll(/ dev="\/dev\/mapper\/[^"]*"/g, "");
      expect(withoutEmptyMetadata(without.replaceAll(' type="file"', ""))).toBe(
        withoutEmptyMetadata(original),
      );
    }
  });

  it("is still valid where the original is, as libvirt's schema has it", () => {
    const valid = schemaValid(
      cases.map(({ xml }) => xml),
      "domain",
    );
    const stillValid = schemaValid(
      cases.map(({ annotated }) => annotated),
      "domain",
    );
    expect(stillValid).toEqual(valid);
    expect(valid.size).toBeGreaterThan(cases.length * 0.9);
  });

  it("comes back byte for byte, all at once or one after the other", () => {
    for (const { xml, annotations, annotated } of cases) {
      expect(unannotateDomain(annotated, annotations)).toBe(xml);
      const oneByOne = [...annotations].reduce(
        (left, entry) => unannotateDomain(left, new Map([entry])),
        annotated,
      );
      expect(oneByOne).toBe(xml);
    }
  });
});

it("any metadata and any source, however they are written, come back byte for byte", () => {
  const disks = fc.array(diskText(), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(disks, metadataText(), fc.constantFrom("\n", "\r\n"), (texts, metadata, newline) => {
      const devs = texts.map((_, index) => `vd${String.fromCharCode(97 + index)}`);
      const devices = texts.map((text, index) => text.replace("@", devs[index]!)).join("");
      const lines = `<domain>\n  <name>x</name>\n  <uuid>${UUID}</uuid>${metadata}<devices>${devices}</devices></domain>`;
      const xml = lines.replaceAll("\n", newline);
      const annotations = new Map(devs.map((dev) => [dev, mapped(xml, dev, UUID)]));
      const annotated = annotateDomain(xml, annotations);
      for (const dev of devs) {
        expect(disksOf(annotated)[dev]).toMatchObject({
          encryption_secret_uuid: UUID,
          volume: disksOf(xml)[dev]!.volume,
        });
      }
      expect(annotateDomain(annotated, annotations)).toBe(annotated);
      expect(unannotateDomain(annotated, annotations)).toBe(xml);
    }),
    { numRuns: 300 },
  );
});

/** What may stand between the domain's UUID and its devices. */
function metadataText(): fc.Arbitrary<string> {
  const space = fc.constantFrom("", " ", "\n", "\n  ", "\n    ", "\n\n\t");
  const item = fc.constantFrom(
    '<app:a xmlns:app="urn:x"/>',
    '<app:a xmlns:app="urn:x">\n </app:a>',
    "<!-- <luksmith:mappings/> -->",
    "<![CDATA[</metadata>]]>",
    "text",
    '<luksmith:encryption xmlns:luksmith="urn:luksmith:guest:1"/>',
  );
  const content = fc.array(fc.tuple(space, item), { maxLength: 3 }).map((items) => items.flat().join(""));
  const element = fc.oneof(
    fc.constant(""),
    fc.constantFrom("<metadata/>", "<metadata />", "<metadata></metadata>", "<metadata></metadata\n>"),
    fc.tuple(content, space).map(([inside, end]) => `<metadata>${inside}${end}</metadata>`),
  );
  return fc.tuple(space, element, space).map((parts) => parts.join(""));
}

/** A `<disk>` with a device name `@`. */
function diskText(): fc.Arbitrary<string> {
  const space = fc.constantFrom("", " ", "\n", "\n  ");
  const gap = fc.constantFrom(" ", "\n", "  ");
  const equals = fc.constantFrom("=", " =", "= ", "\n=\n");
  const quote = fc.constantFrom("'", '"');
  const path = fc.constantFrom("/a", "/&gt;", "/a&amp;b&#38;c", "/a>b", "/b c", "/ü🔐", "/a&apos;&quot;");
  return fc
    .tuple(fc.constantFrom("file", "block"), space, gap, equals, quote, path, fc.boolean(), fc.boolean())
    .map(([type, space1, gap1, equals1, quote1, path1, first, selfClosing]) => {
      const source = `${type === "file" ? "file" : "dev"}${equals1}${quote1}${path1}${quote1}`;
      const policy = "startupPolicy='optional'";
      const attributes = first ? `${source}${gap1}${policy}` : `${policy}${gap1}${source}`;
      const end = selfClosing ? "/>" : `>${space1}<seclabel model='dac' relabel='no'/></source>`;
      return `${space1}<disk${gap1}device='disk'${gap1}type${equals1}${quote1}${type}${quote1}>${space1}<source${gap1}${attributes}${space1}${end}<target dev='@'/></disk>`;
    });
}

function mapped(
  xml: string,
  dev: string,
  secretUuid: KeyUuid,
  replaced?: { readonly path: string },
): MappingAnnotation {
  const now = disksOf(xml)[dev]?.volume;
  const volume = { kind: "file", path: "/a", format: "raw", ...now, ...replaced } as PathVolume;
  return { format: "luks", secretUuid, mapping: mappingName(volume, secretUuid), volume };
}

function mappableDisks(xml: string): string[] {
  // an entry that its source has left does not come back
  const disks = Object.values(disksOf(xml)).filter(
    ({ dev }) => !xml.includes(`<luksmith:mapping dev="${dev}"`),
  );
  return disks.filter(({ volume, encrypted }) => isMappable(volume) && !encrypted).map(({ dev }) => dev);
}

function disksOf(xml: string): Guest["disks"]["mapping"] {
  return guestFromDomainXml(xml).disks.mapping;
}

/** The lines that are only in one of the texts, by the longest common subsequence. */
function changes(before: string, after: string): string[] {
  const [old, now] = [before.split("\n"), after.split("\n")];
  const common = [...old, ""].map(() => [...now, ""].map(() => 0));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = now.length - 1; j >= 0; j--) {
      const longest = Math.max(common[i + 1]![j]!, common[i]![j + 1]!);
      common[i]![j] = old[i] === now[j] ? common[i + 1]![j + 1]! + 1 : longest;
    }
  }
  const result: string[] = [];
  for (let i = 0, j = 0; i < old.length || j < now.length;) {
    if (i < old.length && old[i] === now[j]) {
      i += 1;
      j += 1;
    } else if (j === now.length || (i < old.length && common[i + 1]![j]! >= common[i]![j + 1]!)) {
      result.push(`-${old[i++]!}`);
    } else result.push(`+${now[j++]!}`);
  }
  return result;
}

/** White space between tags says nothing to libvirt, and the annotator adds some. */
function canonical(xml: string): string {
  return canonicalXml(xml).replaceAll(/>\s+</g, "><");
}

function withoutEmptyMetadata(xml: string): string {
  return xml.replaceAll(/<metadata>\s*<\/metadata>/g, "");
}

function decoded(text: string): string {
  return text
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&");
}
