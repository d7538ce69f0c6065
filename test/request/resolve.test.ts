import { describe, expect, it } from "vitest";
import type { Guest } from "../../src/host/host-adapter.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { resolveRequests } from "../../src/request/resolve.js";
import type { EffectiveProfile, EffectiveRule, LegacySettings } from "../../src/settings/settings.js";
import { domainXml } from "../fixtures/domains/domains.js";
import { refusalOf } from "../guest-config/refusal.js";
import { guestWith, luksmith, nova } from "./guest.js";

const SPEC = {
  format: "luks",
  cipher: "aes-xts-plain64",
  keySize: 512,
  hash: "sha256",
  keystore: "local",
} as const;
const DEFAULT: EffectiveProfile = { name: "default", ...SPEC, cache: "off", cacheHours: 24, recovery: [] };
const STRONG: EffectiveProfile = { ...DEFAULT, name: "strong", hash: "sha512", keystore: "vault" };

const LEGACY: LegacySettings = {
  enabled: false,
  cipher: "aes-cbc-essiv:sha256",
  keySize: 256,
  hash: "ripemd160",
};

/** A rule as it stands in the settings. */
type Rule = Omit<EffectiveRule, "encrypt"> & { readonly encrypt?: boolean };

const YES = { "hw:ephemeral_encryption": "true" };
const NO = { "hw:ephemeral_encryption": "false" };
const FLAVOR = "flavor m1.small (hw:ephemeral_encryption)";
const METADATA = "guest metadata (luksmith:encryption)";

describe("nobody outvotes another", () => {
  it("asks for nothing where nobody asks", () => {
    expect(resolve(guestWith("")).size).toBe(0);
  });

  it("encrypts every disk, with the default profile, where the flavor asks", () => {
    const profile = "default";
    expect([...resolve(guestWith(nova(YES)))]).toEqual([
      ["vda", { disk: "vda", ...SPEC, profile, askedBy: [FLAVOR] }],
      ["vdb", { disk: "vdb", ...SPEC, profile, askedBy: [FLAVOR] }],
    ]);
  });

  it("names all who ask, in the order of rank", () => {
    const guest = guestWith(nova(YES, { hw_ephemeral_encryption: "yes" }) + luksmith(""));
    expect(resolve(guest, [{ name: "all" }]).get("vda")?.askedBy).toEqual([
      FLAVOR,
      "image 70a599e0 (hw_ephemeral_encryption)",
      METADATA,
      "rule all",
    ]);
  });

  const no = "false";
  it.each<[string, string, Rule[], string, string]>([
    ["flavor and image", nova(YES, { hw_ephemeral_encryption: no }), [], FLAVOR, "image 70a599e0"],
    ["image and flavor", nova(NO, { hw_ephemeral_encryption: "1" }), [], FLAVOR, "image 70a599e0"],
    ["flavor and metadata", nova(NO) + luksmith(""), [], FLAVOR, METADATA],
    ["metadata and a rule", luksmith(`enabled="no"`), [{ name: "all" }], METADATA, "rule all"],
    ["flavor and a rule", nova(YES), [{ name: "none", encrypt: false }], FLAVOR, "rule none"],
  ])("refuses contradiction of %s, naming both and what they say", (_, metadata, rules, one, other) => {
    const error = refusalOf(() => resolve(guestWith(metadata), rules));
    expect(error.code).toBe("REQUEST_CONFLICT");
    expect(error.message).toContain("disk vda of guest web1");
    expect(error.why).toContain(one);
    expect(error.why).toContain(other);
    expect(error.why).toMatch(/ says (?:yes, .* says no|no, .* says yes)$/);
  });

  it("asks for nothing where all say no", () => {
    expect(resolve(guestWith(nova(NO, { hw_ephemeral_encryption: "off" }))).size).toBe(0);
  });

  it("refuses two formats", () => {
    const metadata = nova(
      { ...YES, "hw:ephemeral_encryption_format": "luks" },
      { hw_ephemeral_encryption_format: "luksv2" },
    );
    const error = refusalOf(() => resolve(guestWith(metadata)));
    expect(error.code).toBe("REQUEST_CONFLICT");
    expect(error.why).toMatch(/says luks, .* says luksv2$/);
  });

  it("refuses two profiles", () => {
    const guest = guestWith(luksmith(`profile="strong"`));
    expect(refusalOf(() => resolve(guest, [{ name: "all", profile: "default" }])).code).toBe(
      "REQUEST_CONFLICT",
    );
  });

  it("refuses what could not be understood, whatever the others say", () => {
    const error = refusalOf(() => resolve(guestWith(nova({ "hw:ephemeral_encryption": "jein" }))));
    expect(error.code).toBe("REQUEST_INVALID");
    expect(error.message).toContain("web1");
    expect(error.message).toContain("jein");
  });
});

describe("a format or a profile without a yes", () => {
  it.each([
    nova({ "hw:ephemeral_encryption_format": "luks" }),
    nova({ "hw:ephemeral_encryption_format": "plain" }, { hw_ephemeral_encryption_format: "luksv2" }),
    luksmith(`enabled="by-rules" profile="unknown"`),
    luksmith(`enabled="no" profile="unknown" format="plain"`),
  ])("asks for nothing: %s", (metadata) => {
    expect(resolve(guestWith(metadata)).size).toBe(0);
  });

  it("decides how, once somebody else asks", () => {
    const guest = guestWith(luksmith(`enabled="by-rules" profile="strong"`));
    expect(resolve(guest, [{ name: "all" }]).get("vda")).toMatchObject({
      profile: "strong",
      hash: "sha512",
      keystore: "vault",
      askedBy: ["rule all"],
    });
  });
});

describe("a format that somebody asks for", () => {
  it("is taken with the default profile's cipher where nobody names a profile", () => {
    const guest = guestWith(nova({ ...YES, "hw:ephemeral_encryption_format": "luksv2" }));
    expect(resolve(guest).get("vda")).toMatchObject({ ...SPEC, format: "luksv2", profile: "default" });
  });

  it("is refused beside a profile that somebody names and that says another", () => {
    const metadata = luksmith(`profile="strong" format="luksv2"`);
    const error = refusalOf(() => resolve(guestWith(metadata)));
    expect(error.code).toBe("REQUEST_CONFLICT");
    expect(error.why).toBe(`profile strong says luks, ${METADATA} says luksv2`);
  });

  it("is plain with the legacy settings' cipher where these switch it on", () => {
    const guest = guestWith(nova({ ...YES, "hw:ephemeral_encryption_format": "plain" }));
    const { cipher, keySize, hash } = LEGACY;
    expect(resolve(guest, [], true).get("vda")).toMatchObject({ format: "plain", cipher, keySize, hash });
  });
});

describe("what this host cannot do", () => {
  it("refuses plain where it is switched off, naming the trait", () => {
    const error = refusalOf(() =>
      resolve(guestWith(nova({ ...YES, "hw:ephemeral_encryption_format": "plain" }))),
    );
    expect(error.code).toBe("TRAIT_MISSING");
    expect(error.message).toContain("COMPUTE_EPHEMERAL_ENCRYPTION_PLAIN");
    expect(error.hint).toContain("legacy.enabled");
  });

  it("refuses an unknown profile, naming the known ones", () => {
    const error = refusalOf(() => resolve(guestWith(luksmith(`profile="stronk"`))));
    expect(error.code).toBe("PROFILE_UNKNOWN");
    expect(error.message).toContain("stronk");
    expect(error.hint).toContain("default, strong");
  });
});

describe("which disks", () => {
  it("are those that metadata names", () => {
    expect(devs(guestFromDomainXml(domainXml("luksmith-metadata")))).toEqual(["vda", "vdc"]);
  });

  it("are Nova's local ones, and a rule covers Cinder's volumes too", () => {
    const guest = guestFromDomainXml(domainXml("nova-1.1-cinder"));
    expect(devs(guest)).toEqual(["vda", "vdb"]);
    expect(devs(guest, [{ name: "all" }])).toEqual(["vda", "vdb", "vdc", "vdd"]);
  });

  it("are never CD-ROMs, floppies and empty drives", () => {
    expect(devs(guestFromDomainXml(domainXml("removable-drives")), [{ name: "all" }])).toEqual([
      "hda",
      "sda",
    ]);
    expect(devs(guestFromDomainXml(domainXml("virt-install-i440fx")), [{ name: "all" }])).toEqual([
      "hda",
      "hdb",
    ]);
  });

  it("are also those that no storage backend encrypts: they are refused later, not left plain", () => {
    const all = [{ name: "all" }];
    expect(devs(guestFromDomainXml(domainXml("network-disks")), all)).toEqual([
      "vda",
      "vdb",
      "vdc",
      "vdd",
      "vde",
    ]);
    expect(devs(guestFromDomainXml(domainXml("lun-passthrough")), all)).toEqual(["sda", "sdb", "sdc"]);
  });

  it("are read-only ones only if they are encrypted already", () => {
    expect(devs(guestFromDomainXml(domainXml("unencryptable")), [{ name: "all" }])).toEqual([
      "vda",
      "vdb",
      "vdc",
      "vdf",
      "vdg",
      "vdh",
    ]);
    expect(devs(guestFromDomainXml(domainXml("luks-in-source")), [{ name: "all" }])).toContain("vde");
  });
});

describe("the operator's rules", () => {
  it("match by the guest's name, its tags and the volume's path, all that they name", () => {
    const guest = guestWith(luksmith(`enabled="by-rules" tags="finance eu"`));
    const matched = (rule: Omit<Rule, "name">) => devs(guest, [{ name: "rule", ...rule }]);
    expect(matched({ guest: "web*" })).toEqual(["vda", "vdb"]);
    expect(matched({ guest: "web" })).toEqual([]);
    expect(matched({ tag: "eu" })).toEqual(["vda", "vdb"]);
    expect(matched({ tag: "e" })).toEqual([]);
    expect(matched({ storage: "/dev/*" })).toEqual(["vdb"]);
    expect(matched({ storage: "/srv/*", tag: "finance", guest: "w?b1" })).toEqual(["vda"]);
    expect(matched({ storage: "/srv/*", tag: "us" })).toEqual([]);
  });

  it("speak one at a time: the first that matches", () => {
    const rules = [
      { name: "scratch", storage: "/dev/*", encrypt: false },
      { name: "strong", guest: "web*", profile: "strong" },
      { name: "all", profile: "unknown" },
    ];
    const requests = resolve(guestWith(""), rules);
    expect([...requests.keys()]).toEqual(["vda"]);
    expect(requests.get("vda")).toMatchObject({ profile: "strong", askedBy: ["rule strong"] });
  });

  it("reach by their path also disks that no storage backend encrypts", () => {
    const guest = guestFromDomainXml(domainXml("unencryptable"));
    expect(devs(guest, [{ name: "kiosk", storage: "/srv/vm/kiosk*" }])).toContain("vda");
    expect(devs(guest, [{ name: "everything", storage: "*" }])).toHaveLength(6);
  });

  it.each([
    "//srv/vm/a.img",
    "/srv//vm/a.img",
    "/srv/./vm/a.img",
    "/srv/x/../vm/a.img",
    "/tmp/../srv/vm/a.img",
    "/./srv/vm/../vm/a.img",
  ])("see through the spelling of a path: %s", (path) => {
    expect(devs(guestWith("", file(path)), [{ name: "vm", storage: "/srv/vm/*" }])).toEqual(["vda"]);
  });

  it("match a path as it is written as well", () => {
    const guest = guestWith("", file("/srv//vm/a.img"));
    expect(devs(guest, [{ name: "as-written", storage: "/srv//vm/*" }])).toEqual(["vda"]);
  });

  it("do not take a disk for scratch whose path only begins as if it were", () => {
    const guest = guestWith("", file("/scratch/../srv/vm/a.img"));
    const rules = [{ name: "scratch", storage: "/scratch/*", encrypt: false }, { name: "all" }];
    expect(devs(guest, rules)).toEqual(["vda"]);
    expect(devs(guestWith("", file("/scratch//a.img")), rules)).toEqual([]);
  });
});

describe("a volume whose path the configuration does not tell", () => {
  const pooled = guestFromDomainXml(domainXml("storage-volumes"));

  it("counts for every rule that asks for encryption by storage, and the rule says so", () => {
    const requests = resolve(pooled, [{ name: "vm", storage: "/srv/vm/*" }]);
    expect([...requests.keys()]).toEqual(["vda", "vdb"]);
    expect(requests.get("vda")?.askedBy).toEqual([
      "rule vm (the volume's path cannot be known, so the rule's storage pattern counts as matching)",
    ]);
  });

  it("counts for no rule against encryption, unless that names the pool", () => {
    const vm = { name: "vm", storage: "/srv/vm/*" };
    expect(devs(pooled, [{ name: "no", storage: "/scratch/*", encrypt: false }, vm])).toEqual(["vda", "vdb"]);
    const pool = { name: "pool", storage: "storage volume default/*", encrypt: false };
    expect(devs(pooled, [pool, vm])).toEqual(["vdb"]);
  });

  it("still is of a guest that the rule must match", () => {
    expect(devs(pooled, [{ name: "other", guest: "web*", storage: "/srv/vm/*" }])).toEqual([]);
  });

  it("may be handed over as a file descriptor, whatever its path says", () => {
    const guest = guestFromDomainXml(domainXml("unencryptable"));
    expect(devs(guest, [{ name: "elsewhere", storage: "/mnt/*" }])).toEqual(["vdh"]);
  });

  it("is none that lies on the network", () => {
    const guest = guestFromDomainXml(domainXml("network-disks"));
    expect(devs(guest, [{ name: "vm", storage: "/srv/vm/*" }])).toEqual([]);
  });
});

function file(path: string): string {
  return `<disk type='file'><source file='${path}'/><target dev='vda'/></disk>`;
}

function resolve(guest: Guest, rules: readonly Rule[] = [], legacy = false) {
  const effective = rules.map((rule) => ({ encrypt: true, ...rule }));
  return resolveRequests(guest, {
    rules: effective,
    profiles: [DEFAULT, STRONG],
    legacy: { ...LEGACY, enabled: legacy },
  });
}

function devs(guest: Guest, rules: readonly Rule[] = []): string[] {
  return [...resolve(guest, rules).keys()];
}
