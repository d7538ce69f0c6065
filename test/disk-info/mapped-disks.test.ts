import { describe, expect, it } from "vitest";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest } from "../../src/host/host-adapter.js";
import type { LegacySettings } from "../../src/settings/settings.js";
import { type RequestSettings, resolveRequests } from "../../src/request/resolve.js";
import { domainXml } from "../fixtures/domains/domains.js";
import { refusalOf } from "../guest-config/refusal.js";

const ROOT = "7f3a0c54-9b1e-4d27-8a60-1c2d3e4f5a6b";
const ROOT_NAME = `luksmith-vm1-root-${ROOT}`;

const LEGACY: LegacySettings = {
  enabled: false,
  cipher: "aes-cbc-essiv:sha256",
  keySize: 256,
  hash: "ripemd160",
};
const SETTINGS: RequestSettings = {
  rules: [],
  profiles: [
    {
      name: "default",
      format: "luks",
      cipher: "aes-xts-plain64",
      keySize: 512,
      hash: "sha256",
      keystore: "local",
      cache: "off",
      cacheHours: 24,
      recovery: [],
    },
  ],
  legacy: LEGACY,
};

describe("a disk that names a mapping of ours", () => {
  it("has the volume that lies under it", () => {
    const { vda, vdb, vdc } = disksOf(domainXml("mapped-disks"));
    expect(vda).toEqual({
      bus: "virtio",
      dev: "vda",
      type: "disk",
      boot_index: 1,
      encrypted: true,
      encryption_format: "luks",
      encryption_secret_uuid: ROOT,
      volume: { kind: "block", path: "/dev/vg/vm1-root", format: "raw" },
      mapping: ROOT_NAME,
      readOnly: false,
    });
    expect(vdb).toMatchObject({
      encryption_format: "luksv2",
      volume: { kind: "file", path: "/srv/vm/R&D.img", format: "raw" },
      mapping: "luksmith-R_D.img-8a4b1d65-ac2f-4e38-9b71-2d3e4f5a6b7c",
    });
    expect(vdc).toMatchObject({
      format: "swap",
      encryption_format: "plain",
      volume: { kind: "block", path: "/dev/vg/vm1_disk.swap" },
      mapping: "vm1_disk.swap-dmcrypt",
    });
  });

  it("is no problem, and what the guest asks for is read beside it", () => {
    const { asks, tags } = guestFromDomainXml(domainXml("mapped-disks"));
    expect(asks).toEqual([{ source: "guest metadata (luksmith:encryption)", enabled: true }]);
    expect(tags).toEqual(["finance"]);
  });

  it("does not have an entry for another name: its source was edited since", () => {
    const { vdd, vde } = disksOf(domainXml("mapped-disks"));
    expect(vdd).toMatchObject({ encrypted: false, volume: { kind: "block", path: "/dev/vg/new" } });
    expect(vdd).not.toHaveProperty("mapping");
    expect(vde).toMatchObject({ encrypted: false, volume: { path: "/dev/mapper/vg-foreign" } });
    expect(problemsOf(domainXml("mapped-disks"))).toEqual([]);
    const foreign = disksOf(edited('dev="vdd"', 'dev="vde"'))["vde"];
    expect(foreign).toMatchObject({ encrypted: false, volume: { path: "/dev/mapper/vg-foreign" } });
  });

  it("is what an operator's rule about storage sees by its volume, and the legacy settings as well", () => {
    const guest = guestFromDomainXml(domainXml("mapped-disks").replace(/<luksmith:encryption .*/, ""));
    const rule = { name: "r", encrypt: true };
    const asked = (storage: string, enabled = false) => [
      ...resolveRequests(guest, {
        ...SETTINGS,
        rules: [{ ...rule, storage }],
        legacy: { ...LEGACY, enabled },
      }).keys(),
    ];
    expect(asked("/srv/vm/R&D*")).toEqual(["vdb"]);
    expect(asked("/dev/mapper/luksmith-*")).toEqual([]);
    expect(asked("/dev/mapper/*")).toEqual(["vde"]);
    expect(asked("/srv/none", true)).toEqual(["vda", "vdc", "vdd", "vde"]);
  });

  it.each([
    ["transient", "<transient/>"],
    ["slice", undefined],
  ])("is none that a storage backend is given when the disk is a %s", (_, extra) => {
    const xml =
      extra === undefined
        ? edited(
            `<source dev='/dev/mapper/${ROOT_NAME}'/>`,
            `<source dev='/dev/mapper/${ROOT_NAME}'><slices><slice type='storage' offset='0' size='512'/></slices></source>`,
          )
        : edited("<target dev='vda'", `${extra}<target dev='vda'`);
    expect(disksOf(xml)["vda"]).toMatchObject({
      volume: { kind: "other", path: "/dev/vg/vm1-root" },
      mapping: ROOT_NAME,
    });
  });

  it("is none that a storage backend is given with an image format inside the mapping, or an odd path", () => {
    expect(disksOf(edited("type='raw' cache", "type='qcow2' cache"))["vda"]?.volume.kind).toBe("other");
    expect(disksOf(edited('volume="/dev/vg/vm1-root"', 'volume="vm1-root"'))["vda"]?.volume.kind).toBe(
      "other",
    );
  });
});

describe("a mapping of ours without an entry", () => {
  const lost = domainXml("mapped-disks").replace(/ *<luksmith:mappings[^]*<\/luksmith:mappings>\n/, "");

  it("still names its key, and can be closed", () => {
    expect(disksOf(lost)["vda"]).toEqual({
      bus: "virtio",
      dev: "vda",
      type: "disk",
      boot_index: 1,
      encrypted: true,
      encryption_secret_uuid: ROOT,
      volume: { kind: "other", description: `what lies under mapping ${ROOT_NAME}`, pathUnknown: true },
      mapping: ROOT_NAME,
      readOnly: false,
    });
    expect(disksOf(lost)["vdc"]).not.toHaveProperty("mapping");
  });

  it("keeps the guest from starting, with a way out", () => {
    const error = startRefusal(lost);
    expect(error).toMatchObject({ code: "GUEST_CONFIG_INVALID" });
    expect(error.hint).toContain(`luksmith keys show ${ROOT}`);
  });
});

describe("metadata that a typo has changed keep a guest from starting, and not from being stopped", () => {
  const entry = '<luksmith:mapping dev="vda" ';
  it.each<[string, string, string]>([
    ["another version of the namespace", "urn:luksmith:mappings:1", "urn:luksmith:mappings:2"],
    ["no version", "urn:luksmith:mappings:1", "urn:luksmith:mappings:"],
    ["another element", "luksmith:mappings", "luksmith:encryption"],
    ["another element inside", "luksmith:mapping ", "luksmith:map "],
    ["an unknown attribute", entry, `${entry}cipher="rot13" `],
    ["no disk", entry, "<luksmith:mapping "],
    ["an odd disk", entry, '<luksmith:mapping dev="&#10;" '],
    ["an odd name", `name="${ROOT_NAME}"`, 'name="../vg"'],
    ["a name like an option", `name="${ROOT_NAME}"`, 'name="--all"'],
    ["no name", `name="${ROOT_NAME}"`, ""],
    ["an unknown type", 'type="block"', 'type="network"'],
    ["no volume", 'volume="/dev/vg/vm1-root"', ""],
    ["an unknown format", 'format="luks"', 'format="luks1"'],
    ["no key", `secret="${ROOT}"`, ""],
    ["an odd key", `secret="${ROOT}"`, 'secret="root"'],
    ["another key than the name's", `secret="${ROOT}"`, 'secret="8a4b1d65-ac2f-4e38-9b71-2d3e4f5a6b7c"'],
    ["a name of another format", 'format="luks"', 'format="plain"'],
    ["two entries for one disk", 'dev="vdb"', 'dev="vda"'],
  ])("%s", (_, before, after) => {
    const xml = edited(before, after);
    expect(disksOf(xml)["vda"]).toMatchObject({
      encryption_secret_uuid: ROOT,
      mapping: ROOT_NAME,
      volume: { kind: "other" },
    });
    expect(startRefusal(xml).code).toBe("GUEST_CONFIG_INVALID");
    for (const { why } of problemsOf(xml)) expect(why).toMatch(/^[^\p{C}]+$/u);
  });

  it("the element twice", () => {
    const [element = ""] =
      /<luksmith:mappings[^]*<\/luksmith:mappings>/.exec(domainXml("mapped-disks")) ?? [];
    expect(startRefusal(edited("</metadata>", `${element}</metadata>`)).why).toContain("twice");
  });

  it("a format with a header for a name of Nova's, whose mapping is then nobody's to close", () => {
    const xml = edited('format="plain"', 'format="luksv2"');
    expect(disksOf(xml)["vdc"]).not.toHaveProperty("mapping");
    expect(startRefusal(xml).code).toBe("GUEST_CONFIG_INVALID");
  });

  it("a name that tells no key for a format with a header", () => {
    const xml = domainXml("mapped-disks").replaceAll(ROOT_NAME, "luksmith-vm1-root");
    expect(disksOf(xml)["vda"]).not.toHaveProperty("mapping");
    expect(startRefusal(xml).code).toBe("GUEST_CONFIG_INVALID");
  });

  it("an encryption block over the mapping, whose key counts as used", () => {
    const other = "bd7e4098-df52-4b6b-8ea4-5a6b7c8d9eaf";
    const source = `<source dev='/dev/mapper/${ROOT_NAME}'`;
    const xml = edited(
      `${source}/>`,
      `${source}><encryption format='luks'><secret type='passphrase' uuid='${other}'/></encryption></source>`,
    );
    expect(disksOf(xml)["vda"]).toMatchObject({
      encryption_secret_uuid: ROOT,
      mapping: ROOT_NAME,
      backingSecretUuids: [other],
    });
    expect(startRefusal(xml).code).toBe("GUEST_CONFIG_INVALID");
  });
});

function disksOf(xml: string): Guest["disks"]["mapping"] {
  return guestFromDomainXml(xml).disks.mapping;
}

function problemsOf(xml: string): LuksmithError[] {
  return guestFromDomainXml(xml).asks.flatMap(({ problem }) => problem ?? []);
}

function startRefusal(xml: string): LuksmithError {
  return refusalOf(() => resolveRequests(guestFromDomainXml(xml), SETTINGS));
}

/** The fixture with the first `before` changed; an element is changed with its end tag. */
function edited(before: string, after: string): string {
  const xml = domainXml("mapped-disks");
  if (!xml.includes(before)) throw new Error(`the fixture has no ${before}`);
  const isElement = before === "luksmith:mappings";
  return isElement ? xml.replaceAll(/(<\/?)luksmith:mappings/g, `$1${after}`) : xml.replace(before, after);
}
