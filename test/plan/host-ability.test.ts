import { describe, expect, it } from "vitest";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { asLuksmithError } from "../../src/error/luksmith-error.js";
import {
  type NewDiskAbility,
  refuseUnableFormats,
  refuseUnableMappings,
  refuseUnableRequests,
} from "../../src/plan/host-ability.js";
import { planOf } from "../../src/plan/step.js";
import { FakeProvider } from "../fake/fake-provider.js";
import { disk, guestWith, record, request } from "./builders.js";

const LEGACY = { enabled: false, cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" } as const;

/** A host whose dm-crypt can this, and whether it was asked for its versions. */
function host(
  mapped: readonly EncryptionFormat[],
  more: Partial<NewDiskAbility> = {},
): NewDiskAbility & { asked: number } {
  const native = new FakeProvider("native", ["luks"]);
  const askVersions = native.traits.bind(native);
  const ability = {
    asked: 0,
    providers: new EncryptionProviders([
      Object.assign(native, {
        traits: () => {
          ability.asked++;
          return askVersions();
        },
      }),
      new FakeProvider("dm-crypt", ["luks", "luksv2", "plain"], mapped),
    ]),
    versions: () => Promise.resolve({ qemu: "7.2.0", libvirt: "9.0.0" }),
    legacy: LEGACY,
    engine: "auto" as const,
    ...more,
  };
  return ability;
}

function asking(dev: string, format: EncryptionFormat) {
  return new Map([[dev, { ...request(dev), format }]]);
}

async function refusal(work: Promise<void>): Promise<{ code: string; message: string } | undefined> {
  return await work.then(
    () => undefined,
    (thrown: unknown) => {
      const { code, message } = asLuksmithError(thrown);
      return { code, message };
    },
  );
}

const namedBy = (format: EncryptionFormat) => ({ source: "flavor", enabled: true, format }) as const;

describe("a disk that must be encrypted and is not", () => {
  it.each(["luksv2", "plain"] as const)(
    "is refused where this host lacks %s, by its trait",
    async (format) => {
      const refused = refuseUnableRequests(guestWith(disk("vda")), asking("vda", format), host(["luks"]));
      expect(await refusal(refused)).toMatchObject({
        code: "TRAIT_MISSING",
        message: expect.stringContaining(`COMPUTE_EPHEMERAL_ENCRYPTION_${format.toUpperCase()}`) as string,
      });
    },
  );

  it.each(["luks", "luksv2", "plain"] as const)("passes where this host can do %s", async (format) => {
    const able = host(["luks", "luksv2", "plain"]);
    expect(
      await refusal(refuseUnableRequests(guestWith(disk("vda")), asking("vda", format), able)),
    ).toBeUndefined();
  });

  it("is refused where the settings leave only an engine that cannot", async () => {
    const guest = guestWith(disk("vda"));
    const native = host(["luks", "luksv2"], { engine: "native" });
    expect(await refusal(refuseUnableRequests(guest, asking("vda", "luksv2"), native))).toMatchObject({
      code: "TRAIT_MISSING",
    });
    const qcow2 = disk("vda", undefined, { volume: { kind: "file", path: "/a.qcow2", format: "qcow2" } });
    const dmCrypt = host(["luks"], { engine: "dm-crypt" });
    expect(
      await refusal(refuseUnableRequests(guestWith(qcow2), asking("vda", "luks"), dmCrypt)),
    ).toMatchObject({ code: "VOLUME_UNSUPPORTED" });
  });

  it("that nobody asks for is nobody's matter: this host is asked nothing", async () => {
    const incapable = host([]);
    expect(await refusal(refuseUnableRequests(guestWith(disk("vda")), new Map(), incapable))).toBeUndefined();
    expect(incapable.asked).toBe(0);
  });
});

describe("a disk that has its annotation", () => {
  it("needs no question where no voice names another format", async () => {
    const able = host([]);
    const guest = { ...guestWith(disk("vda", 1)), asks: [namedBy("luks")] };
    expect(await refusal(refuseUnableRequests(guest, asking("vda", "luks"), able))).toBeUndefined();
    // a profile that was changed since names a format for disks that are new
    const silent = guestWith(disk("vda", 1));
    expect(await refusal(refuseUnableRequests(silent, asking("vda", "luksv2"), able))).toBeUndefined();
    expect(able.asked).toBe(0);
  });

  it("is refused where a voice names a format that this host lacks", async () => {
    const guest = { ...guestWith(disk("vda", 1)), asks: [namedBy("luksv2")] };
    const requests = asking("vda", "luksv2");
    expect(await refusal(refuseUnableRequests(guest, requests, host([])))).toMatchObject({
      code: "TRAIT_MISSING",
      message: expect.stringContaining("COMPUTE_EPHEMERAL_ENCRYPTION_LUKSV2") as string,
    });
    expect(await refusal(refuseUnableRequests(guest, requests, host(["luksv2"])))).toBeUndefined();
  });
});

describe("a disk that is given to dm-crypt", () => {
  const mapped = (format: EncryptionFormat) =>
    guestWith(disk("vda", 1, { mapping: "luksmith-vda", encryption_format: format }));

  it.each(["luks", "luksv2"] as const)("as %s needs a host that can open it", async (format) => {
    expect(await refusal(refuseUnableMappings(mapped(format), host([format])))).toBeUndefined();
    expect(await refusal(refuseUnableMappings(mapped(format), host([])))).toMatchObject({
      code: "TRAIT_MISSING",
    });
  });

  it("opens whatever engine the settings prefer for new disks", async () => {
    const native = host(["luks"], { engine: "native" });
    expect(await refusal(refuseUnableMappings(mapped("luks"), native))).toBeUndefined();
  });

  it("as plain needs the legacy settings as well", async () => {
    const able = host(["plain"]);
    expect(await refusal(refuseUnableMappings(mapped("plain"), able))).toMatchObject({
      code: "TRAIT_MISSING",
      message: expect.stringContaining("COMPUTE_EPHEMERAL_ENCRYPTION_PLAIN") as string,
    });
    const legacy = { ...able, legacy: { ...LEGACY, enabled: true } };
    expect(await refusal(refuseUnableMappings(mapped("plain"), legacy))).toBeUndefined();
  });

  it("does not stand in the way of disks that are not", async () => {
    const incapable = host([]);
    const guest = guestWith(disk("vda"), disk("vdb", 2));
    expect(await refusal(refuseUnableMappings(guest, incapable))).toBeUndefined();
    expect(incapable.asked).toBe(0);
  });
});

it("refuses to format what this host could not open afterwards", async () => {
  const { volume } = disk("vda");
  const format = { kind: "format", disk: "vda", volume, record: record(1, "vda", "pending") } as const;
  const guest = guestWith(disk("vda", 1));
  const plan = (provider?: "dm-crypt") => planOf([{ ...format, ...(provider && { provider }) }]);
  expect(await refusal(refuseUnableFormats(guest, plan(), host([])))).toBeUndefined();
  expect(await refusal(refuseUnableFormats(guest, plan("dm-crypt"), host([])))).toMatchObject({
    code: "TRAIT_MISSING",
  });
});
