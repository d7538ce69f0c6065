import { describe, expect, it } from "vitest";
import { EncryptionProviders, type EngineChoice } from "../../src/encryption/encryption-providers.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { asLuksmithError, LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest } from "../../src/host/host-adapter.js";
import { Keyring } from "../../src/keystore/keyring.js";
import { gatherProtectFacts, type ProtectSources } from "../../src/plan/gather-protect.js";
import { KeySession } from "../../src/plan/key-session.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { FakeProvider } from "../fake/fake-provider.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { disk, guestWith, request } from "./builders.js";

interface Asked {
  readonly versions: number;
  readonly keystores: number;
}

/** A host whose keystore and versions say when they were asked; none of the volumes exists. */
function sourcesOf(mapped: readonly EncryptionFormat[]): { sources: ProtectSources; asked: () => Asked } {
  let [versions, keystores] = [0, 0];
  const away = () => {
    keystores++;
    return Promise.reject(new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "somebody asked the keystore" }));
  };
  const sources: ProtectSources = {
    host: {
      versions: () => {
        versions++;
        return Promise.resolve({ qemu: "7.2.0", libvirt: "9.0.0" });
      },
    },
    providers: new EncryptionProviders([
      new FakeProvider("native", ["luks"]),
      new FakeProvider("dm-crypt", ["luks", "luksv2", "plain"], mapped),
    ]),
    storage: createStorageRegistry(new RecordingCommandRunner(), DEFAULT_STORAGE),
    keyring: new Keyring([{ name: "local", make: away }]),
  };
  return { sources, asked: () => ({ versions, keystores }) };
}

async function refusal(
  guest: Guest,
  format: EncryptionFormat,
  mapped: readonly EncryptionFormat[],
  choice: EngineChoice = "auto",
) {
  const { sources, asked } = sourcesOf(mapped);
  using session = new KeySession();
  const requests = [{ ...request("vda"), format }];
  const { code, message } = await gatherProtectFacts(guest, requests, choice, sources, session).then(
    () => ({ code: "none", message: "" }),
    (thrown: unknown) => asLuksmithError(thrown),
  );
  return { code, message, ...asked() };
}

const named = (guest: Guest, format: EncryptionFormat): Guest => ({
  ...guest,
  asks: [{ source: "flavor", enabled: true, format }],
});

describe("before a keystore is asked, protect refuses", () => {
  it.each(["luksv2", "plain"] as const)("%s on a host that lacks it, by the trait", async (format) => {
    const refused = await refusal(guestWith(disk("vda")), format, ["luks"]);
    expect(refused).toMatchObject({ code: "TRAIT_MISSING", keystores: 0 });
    expect(refused.message).toContain(`COMPUTE_EPHEMERAL_ENCRYPTION_${format.toUpperCase()}`);
  });

  it("an engine that this host lacks, also for a disk that is to be switched to it", async () => {
    for (const guest of [guestWith(disk("vda")), guestWith(disk("vda", 1))]) {
      expect(await refusal(guest, "luks", [], "dm-crypt")).toMatchObject({
        ...{ code: "TRAIT_MISSING", keystores: 0 },
      });
    }
  });

  it("a format that the storage does not carry, though this host offers it", async () => {
    expect(await refusal(guestWith(disk("vda")), "plain", ["plain"])).toMatchObject({
      ...{ code: "VOLUME_UNSUPPORTED", keystores: 0 },
    });
  });

  it("a disk that is encrypted otherwise than a voice names it, on a host that lacks that", async () => {
    const guest = named(guestWith(disk("vda", 1)), "luksv2");
    expect(await refusal(guest, "luksv2", [])).toMatchObject({ code: "TRAIT_MISSING", keystores: 0 });
  });
});

it("asks no versions for a disk that stays as it is annotated", async () => {
  const guest = guestWith(disk("vda", 1));
  expect(await refusal(guest, "luks", [])).toMatchObject({
    ...{ code: "KEYSTORE_UNAVAILABLE", versions: 0, keystores: 1 },
  });
});

it("goes by the format that a disk has, and not by the one that a new disk would get", async () => {
  expect(await refusal(guestWith(disk("vda", 1)), "luksv2", ["luks"], "dm-crypt")).toMatchObject({
    ...{ code: "KEYSTORE_UNAVAILABLE", keystores: 1 },
  });
});
