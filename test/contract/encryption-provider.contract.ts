import { describe, expect, it } from "vitest";
import type { AskVersions, EncryptionProvider } from "../../src/encryption/encryption-provider.js";
import type { EncryptionSpec, LuksSpec } from "../../src/encryption/luks-spec.js";
import { ENCRYPTION_TRAIT, TRAIT_OF_FORMAT, traitsOf } from "../../src/encryption/traits.js";
import type { Tool } from "../../src/exec/tools.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { StorageBackend } from "../../src/storage/storage-backend.js";
import { codeOf, SPEC, Workshop } from "../storage/workshop.js";

export interface ProviderFixture {
  readonly name: string;
  /** Whether this host has what it takes. */
  readonly able: boolean;
  /** @param toolPath where it finds its programs; where they are without it */
  readonly make: (toolPath?: (tool: Tool) => string | undefined) => EncryptionProvider;
}

const VERSIONS: AskVersions = () => Promise.resolve({ qemu: "7.2.22", libvirt: "9.0.0" });

/** What every encryption provider promises, whoever decrypts. */
export function encryptionProviderContract({ name, able, make }: ProviderFixture): void {
  describe(`${name}: the contract of encryption providers`, () => {
    it(`promises ${able ? "its formats" : "nothing"} on this host, and says why it lacks any`, async () => {
      const provider = make();
      expect(await provider.traits(VERSIONS)).toEqual(able ? traitsOf(provider.formats) : []);
      const obstacles = (await provider.obstacles?.(VERSIONS)) ?? [];
      expect(obstacles.length > 0).toBe(!able);
    });

    it("promises nothing without its programs, and asks for no version then", async () => {
      const provider = make(() => undefined);
      const nobody: AskVersions = () => Promise.reject(new Error("asked for versions"));
      expect(await provider.traits(nobody)).toEqual([]);
    });

    it("names the format in what it promises", () => {
      const traits = traitsOf(make().formats);
      expect(traits[0]).toBe(ENCRYPTION_TRAIT);
      for (const format of make().formats) expect(traits).toContain(TRAIT_OF_FORMAT[format]);
    });

    it("refuses a storage backend that does not carry its formats, and touches nothing", async () => {
      using workshop = new Workshop("raw");
      for (const format of make().formats) {
        const backend: StorageBackend = Object.assign(workshop.another(), { formats: [] });
        expect(await codeOf(formatted(make(), backend, { ...SPEC, format }))).toBe("VOLUME_UNSUPPORTED");
      }
      expect(workshop.runner.lines).toEqual([]);

      async function formatted(provider: EncryptionProvider, backend: StorageBackend, spec: EncryptionSpec) {
        using passphrase = Secret.randomPassphrase();
        const volume = workshop.makeEmpty("disk.img");
        await provider.format(backend, { volume, uuid: newKeyUuid(), spec, passphrase });
      }
    });

    const luks = make().formats.filter((format) => format !== "plain");
    it.each(luks)(
      "formats an empty volume as %s under the key's UUID, as often as it is asked",
      async (format) => {
        using workshop = new Workshop("raw");
        using passphrase = Secret.randomPassphrase();
        const volume = workshop.makeEmpty("disk.img");
        const spec: LuksSpec = { ...SPEC, format };
        const request = { volume, uuid: newKeyUuid(), spec, passphrase };

        await make().format(workshop.backend, request);
        const first = workshop.bytes(volume);
        await make().format(workshop.backend, request);

        const { uuid } = request;
        const header = { uuid, version: format === "luks" ? 1 : 2 };
        expect(await workshop.backend.probe(volume, "header")).toMatchObject({ kind: "luks", header });
        await workshop.backend.testPassphrase(volume, passphrase);
        expect(workshop.bytes(volume).equals(first)).toBe(true);
      },
    );
  });
}
