import { describe, expect, it } from "vitest";
import { EncryptionProviders } from "../../src/encryption/encryption-providers.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { traitsOf } from "../../src/encryption/traits.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Guest, Registration } from "../../src/host/host-adapter.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { Key, Keystore } from "../../src/keystore/keystore.js";
import { abilityFor, type AbilitySources } from "../../src/plan/guest-ability.js";
import { Secret } from "../../src/secret/secret.js";
import { parseSettings } from "../../src/settings/load.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { FakeProvider } from "../fake/fake-provider.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { DEFAULT_STORAGE } from "../storage/default-storage.js";
import { disk, guestWith, record, uuid } from "./builders.js";

const REGISTERED: Registration = { kind: "registered", path: "/etc/libvirt/hooks/qemu.d/luksmith" };

interface Host {
  readonly mapped?: readonly EncryptionFormat[];
  readonly settings?: object;
  readonly registration?: Registration;
  readonly formatting?: "never";
  readonly keystore?: Pick<Keystore, "fetch">;
}

/** None of the volumes exists: whoever read one would stumble. */
function host({ mapped = [], settings = {}, registration = REGISTERED, formatting, keystore }: Host = {}) {
  const parsed = parseSettings(JSON.stringify({ version: 1, ...settings }), "the test");
  const storage = { ...DEFAULT_STORAGE, ...(formatting && { raw: { formatting } }) };
  const runner = new RecordingCommandRunner();
  const sources: AbilitySources = {
    settings: parsed,
    storage: createStorageRegistry(runner, storage),
    ability: {
      providers: new EncryptionProviders([
        new FakeProvider("native", ["luks"]),
        new FakeProvider("dm-crypt", ["luks", "luksv2", "plain"], mapped),
      ]),
      versions: () => Promise.resolve({ qemu: "7.2.0", libvirt: "9.0.0" }),
      legacy: parsed.legacy,
      engine: parsed.encryption.engine,
    },
    registration: () => Promise.resolve(registration),
    ...(keystore && {
      keyring: new Keyring([
        { name: "local", make: () => Promise.resolve({ name: "local", ...keystore } as Keystore) },
      ]),
    }),
  };
  return sources;
}

function asked(guest: Guest, format?: EncryptionFormat): Guest {
  return { ...guest, asks: [{ source: "flavor", enabled: true, ...(format && { format }) }] };
}

async function codes(guest: Guest, sources: AbilitySources): Promise<string[]> {
  return (await abilityFor(guest, sources)).problems.map(({ code }) => code);
}

const absent: Registration = { kind: "absent", path: "/nowhere" };
const mapping = (format: EncryptionFormat) => ({ mapping: "luksmith-vda", encryption_format: format });
const BLOCK = { volume: { kind: "block", path: "/dev/no-such-group/vm1", format: "raw" } } as const;

describe("a guest that nobody asks to encrypt", () => {
  it("needs nothing, not even the hook", async () => {
    expect(await abilityFor(guestWith(disk("vda")), host({ registration: absent }))).toMatchObject({
      requires: [],
      disks: [{ traits: [], provider: undefined, backend: undefined }],
      problems: [],
    });
  });

  it("runs where it is told not to be encrypted and the host could not", async () => {
    const no = { ...guestWith(disk("vda")), asks: [{ source: "flavor", enabled: false }] };
    const settings = { encryption: { engine: "dm-crypt" } };
    expect(await codes(no, host({ settings, registration: absent }))).toEqual([]);
  });
});

describe("a guest that must be encrypted and is not yet", () => {
  it("could be encrypted here: by whom, on what, and where its key would go", async () => {
    expect(await abilityFor(asked(guestWith(disk("vda"))), host())).toMatchObject({
      requires: ["COMPUTE_EPHEMERAL_ENCRYPTION"],
      disks: [{ traits: traitsOf(["luks"]), provider: "native", backend: "raw", keystore: "local" }],
      problems: [],
    });
  });

  it("names every disk that could not", async () => {
    const guest = asked(guestWith(disk("vda"), disk("vdb")), "luksv2");
    const { requires, disks, problems } = await abilityFor(guest, host());
    expect(requires).toEqual(traitsOf(["luksv2"]));
    expect(disks.map(({ provider }) => provider)).toEqual([undefined, undefined]);
    expect(problems.map(({ code, message }) => `${code} ${/disk \w+/.exec(message)?.[0] ?? ""}`)).toEqual([
      ...["TRAIT_MISSING disk vda", "TRAIT_MISSING disk vdb"],
    ]);
    expect(problems[0]?.message).toContain("COMPUTE_EPHEMERAL_ENCRYPTION_LUKSV2");
    const dmCrypt = await abilityFor(guest, host({ mapped: ["luksv2"] }));
    expect(dmCrypt.disks.map(({ provider }) => provider)).toEqual(["dm-crypt", "dm-crypt"]);
  });

  it("could not be where nobody may format such volumes", async () => {
    expect(await codes(asked(guestWith(disk("vda"))), host({ formatting: "never" }))).toEqual([
      "VOLUME_FORMAT_FORBIDDEN",
    ]);
    expect(await codes(asked(guestWith(disk("vda", 1))), host({ formatting: "never" }))).toEqual([]);
  });

  it("could be where its volume is still to be made, on storage that nobody knows yet", async () => {
    const settings = { legacy: { enabled: true } };
    const guest = asked(guestWith(disk("vda", undefined, BLOCK)), "plain");
    const { disks, problems } = await abilityFor(guest, host({ settings, mapped: ["plain"] }));
    expect(problems).toEqual([]);
    expect(disks).toMatchObject([{ provider: "dm-crypt", backend: undefined }]);
  });
});

describe("a guest that is encrypted", () => {
  it("needs who decrypts it as it is annotated", async () => {
    const native = await abilityFor(guestWith(disk("vda", 1)), host());
    expect(native).toMatchObject({
      disks: [{ provider: "native", traits: traitsOf(["luks"]) }],
      problems: [],
    });
    const guest = guestWith(disk("vda", 1, mapping("luksv2")));
    expect(await codes(guest, host())).toEqual(["TRAIT_MISSING"]);
    expect(await abilityFor(guest, host({ mapped: ["luksv2"] }))).toMatchObject({
      disks: [{ provider: "dm-crypt", traits: traitsOf(["luksv2"]) }],
      problems: [],
    });
  });

  it("as plain runs only where the legacy settings allow it", async () => {
    const guest = guestWith(disk("vda", 1, { ...BLOCK, ...mapping("plain") }));
    expect(await codes(guest, host({ mapped: ["plain"] }))).toEqual(["TRAIT_MISSING"]);
    expect(await codes(guest, host({ mapped: ["plain"], settings: { legacy: { enabled: true } } }))).toEqual(
      [],
    );
  });

  it("does not run where the hook is not registered", async () => {
    const mapped = ["luks"] as const;
    const guest = guestWith(disk("vda", 1, mapping("luks")));
    expect(await codes(guest, host({ mapped, registration: absent }))).toEqual(["HOOK_NOT_INSTALLED"]);
    expect(await codes(guest, host({ mapped, registration: { ...absent, kind: "foreign" } }))).toEqual([
      "HOOK_NOT_INSTALLED",
    ]);
    expect(await codes(guest, host({ mapped, registration: { ...absent, kind: "outdated" } }))).toEqual([]);
  });
});

it("those who do not agree are the refusal", async () => {
  const guest = asked(guestWith(disk("vda")));
  const torn = { ...guest, asks: [...guest.asks, { source: "image", enabled: false }] };
  expect(await abilityFor(torn, host())).toMatchObject({
    disks: [],
    problems: [{ code: "REQUEST_CONFLICT" }],
  });
});

it("an encryption block that means something else than what is asked for is refused as at a start", async () => {
  const foreign = disk("vda", 1, { encryption_options: { engine: "librbd" } });
  expect(await codes(asked(guestWith(foreign)), host())).toEqual(["REQUEST_CONFLICT"]);
});

describe("keys", () => {
  const passphrase = () => Secret.randomPassphrase();
  const has = (n: number) => {
    const key: Key = { record: record(n, "vda", "active"), passphrase: passphrase() };
    return { key, fetch: (id: string) => Promise.resolve(id === uuid(n) ? key : undefined) };
  };
  const guest = guestWith(disk("vda", 1));

  it("are not asked for unless a keyring is given", async () => {
    expect(await abilityFor(asked(guest), host())).toMatchObject({
      disks: [{ key: undefined, keystore: undefined }],
      problems: [],
    });
  });

  it("are found, and their passphrases are wiped", async () => {
    const keystore = has(1);
    expect(await abilityFor(asked(guest), host({ keystore }))).toMatchObject({
      disks: [{ key: "found", keystore: "local" }],
      problems: [],
    });
    expect(() => keystore.key.passphrase.use((bytes) => bytes.length)).toThrow();
  });

  it("that no keystore has speak against a disk of ours, and against no other's", async () => {
    expect(await codes(asked(guest), host({ keystore: has(2) }))).toEqual(["KEY_NOT_FOUND"]);
    expect(await abilityFor(guest, host({ keystore: has(2), registration: absent }))).toMatchObject({
      disks: [{ key: "unknown" }],
      problems: [],
    });
  });

  it("of what a disk lies over are needed too", async () => {
    const over = guestWith(disk("vda", 1, { backingSecretUuids: [uuid(3)] }));
    const { problems } = await abilityFor(asked(over), host({ keystore: has(1) }));
    expect(problems).toMatchObject([{ code: "KEY_NOT_FOUND" }]);
    expect(problems[0]?.message).toContain(uuid(3));
  });

  it("cannot be told where a keystore does not answer", async () => {
    const away = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "it does not answer" });
    const keystore = { fetch: () => Promise.reject(away) };
    expect(await abilityFor(asked(guest), host({ keystore }))).toMatchObject({
      disks: [{ key: "unavailable" }],
      problems: [{ code: "KEYSTORE_UNAVAILABLE" }],
    });
  });
});
