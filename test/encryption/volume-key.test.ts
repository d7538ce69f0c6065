import { join } from "node:path";
import { expect, it } from "vitest";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { volumeKeysIn } from "../../src/encryption/volume-key.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { temporaryDirectory } from "../fs/tree.js";
import { makeBackend, makeImage, SPEC } from "../storage/workshop.js";

const runner = new ExecaCommandRunner();

it.each(["luks", "luksv2"] as const)(
  "a volume key is known again in a header of %s under another name, with other keyslots",
  async (format) => {
    const directory = temporaryDirectory();
    const backend = makeBackend("raw", runner, join(directory, "lock"));
    using passphrase = Secret.randomPassphrase();
    using added = Secret.randomPassphrase();
    const made = async (name: string): Promise<Buffer> => {
      const volume = { kind: "file", path: join(directory, name), format: "raw" } as const;
      makeImage(volume, 8 * 1024 * 1024);
      await backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: { ...SPEC, format }, passphrase });
      return await backend.readHeader(volume);
    };
    const [header, another] = [await made("one.img"), await made("another.img")];
    const keyslots = new Keyslots(runner);
    const { pieces } = await keyslots.add(header, { passphrase, added, strength: "machine" });
    const changed = Buffer.from(header);
    for (const { offset, bytes } of pieces) bytes.copy(changed, offset);
    for (const { offset, bytes } of keyslots.renamed(changed, newKeyUuid())) bytes.copy(changed, offset);
    const [own, ...more] = volumeKeysIn(header);
    expect([own, more]).toEqual([expect.stringMatching(/^[0-9a-f]{64}:[0-9a-f]{40,}$/), []]);
    expect(volumeKeysIn(changed)).toEqual([own]);
    expect(volumeKeysIn(another)).not.toContain(own);
    expect(volumeKeysIn(Buffer.alloc(header.length))).toEqual([]);
  },
);
