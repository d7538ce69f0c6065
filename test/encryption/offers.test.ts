import { describe, expect, it } from "vitest";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import { type OfferSettings, offersOf, traitsOn } from "../../src/encryption/offers.js";
import { traitsOf } from "../../src/encryption/traits.js";
import { FakeProvider } from "../fake/fake-provider.js";

const versions = () => Promise.resolve({ qemu: "7.2.0", libvirt: "9.0.0" });
const settings = (engine: OfferSettings["encryption"]["engine"], enabled = false): OfferSettings => ({
  encryption: { engine },
  legacy: { enabled },
});

const able = new EncryptionProviders([
  new FakeProvider("native", ["luks"]),
  new FakeProvider("dm-crypt", ["luks", "luksv2"]),
  new FakeProvider("dm-crypt", ["plain"]),
]);
const withoutQemu = new EncryptionProviders([
  new FakeProvider("native", ["luks"], []),
  new FakeProvider("dm-crypt", ["luks", "luksv2"]),
]);
const withoutKernel = new EncryptionProviders([
  new FakeProvider("native", ["luks"]),
  new FakeProvider("dm-crypt", ["luks", "luksv2"], []),
]);

const RAW = { formats: ["luks", "luksv2"] } as const;
const QCOW2 = { formats: ["luks"] } as const;
const LVM = { formats: ["luks", "luksv2", "plain"] } as const;

describe("what this host offers", () => {
  it("is everything that a provider can do", async () => {
    const offers = await offersOf(able, versions, settings("auto", true));
    expect(offers.map(({ provider, format }) => `${provider} ${format}`)).toEqual([
      ...["native luks", "dm-crypt luks", "dm-crypt luksv2", "dm-crypt plain"],
    ]);
    expect(offers.every(({ offered, reasons }) => offered && reasons.length === 0)).toBe(true);
    expect(traitsOn(RAW, offers)).toEqual(traitsOf(["luks", "luksv2"]));
    expect(traitsOn(LVM, offers)).toEqual(traitsOf(["luks", "luksv2", "plain"]));
  });

  it("leaves plain out while the settings do not switch it on", async () => {
    const offers = await offersOf(able, versions, settings("auto"));
    expect(offers.at(-1)).toMatchObject({
      offered: false,
      reasons: ["the settings do not switch it on (legacy.enabled)"],
    });
    expect(traitsOn(LVM, offers)).toEqual(traitsOf(["luks", "luksv2"]));
  });

  it("leaves out what a provider cannot, and says why", async () => {
    const offers = await offersOf(withoutKernel, versions, settings("auto"));
    expect(offers.map(({ offered, reasons }) => [offered, reasons])).toEqual([
      [true, []],
      [false, ["dm-crypt is broken here"]],
      [false, ["dm-crypt is broken here"]],
    ]);
    expect(traitsOn(RAW, offers)).toEqual(traitsOf(["luks"]));
  });

  it.each([
    ["native", ["luks"]],
    ["dm-crypt", ["luks", "luksv2"]],
  ] as const)("is narrowed by an explicit engine: %s", async (engine, formats) => {
    const offers = await offersOf(able, versions, settings(engine));
    expect(traitsOn(RAW, offers)).toEqual(traitsOf(formats));
    for (const { provider, reasons } of offers.filter((offer) => offer.provider !== engine)) {
      expect([provider, reasons]).toEqual([
        provider,
        expect.arrayContaining([`the settings say encryption.engine ${engine}`]),
      ]);
    }
  });
});

it("dm-crypt encrypts nothing inside an image format or on a network", async () => {
  const offers = await offersOf(withoutQemu, versions, settings("auto"));
  expect(traitsOn(QCOW2, offers)).toEqual([]);
  expect(traitsOn(RAW, offers)).toEqual(traitsOf(["luks", "luksv2"]));
  expect(traitsOn(QCOW2, await offersOf(able, versions, settings("dm-crypt")))).toEqual([]);
  expect(traitsOn(QCOW2, await offersOf(able, versions, settings("native")))).toEqual(traitsOf(["luks"]));
});
