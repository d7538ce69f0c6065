import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { type EmptinessProver, provesEmptiness } from "../../src/storage/storage-backend.js";
import type { Volume } from "../../src/storage/volume.js";
import { qemuIo } from "../storage/qemu.js";
import { whileOpen } from "../storage/running-guest.js";
import { codeOf, MIB, SPEC } from "../storage/workshop.js";
import type { StorageFixture } from "./storage-fixture.js";

const SIZE = 8 * MIB;
const SECTOR = 512;

/** What storage backends do that can prove a volume empty without writing to it. */
export function emptinessContract(name: string, make: () => StorageFixture | Promise<StorageFixture>): void {
  describe(`${name}: the contract of the proof of emptiness`, () => {
    let fixture: StorageFixture;
    let prover: EmptinessProver;
    let volume: Volume;

    beforeEach(async () => {
      fixture = await make();
      if (!provesEmptiness(fixture.backend)) throw new Error(`${fixture.backend.type} proves nothing`);
      prover = fixture.backend;
      volume = await fixture.makeEmpty("disk", SIZE);
    });
    afterEach(() => fixture[Symbol.asyncDispose]());

    async function expectRefusal(code: string): Promise<void> {
      const before = await fixture.state();
      expect(await codeOf(prover.requireEmpty(volume))).toBe(code);
      expect(await fixture.state()).toEqual(before);
    }

    it("is given for a new volume, as often as one likes, and nothing is written", async () => {
      const before = await fixture.state();
      await prover.requireEmpty(volume);
      await prover.requireEmpty(volume);
      expect(await fixture.state()).toEqual(before);
      expect(fixture.runner.count("cryptsetup luksFormat")).toBe(0);
    });

    it("is given for zeros that a guest wrote", async () => {
      qemuIo(fixture.plainNode(volume), ["write -P 0 1M 1M"]);
      await prover.requireEmpty(volume);
    });

    it.each([0, 3 * MIB, SIZE - SECTOR])("is refused for data at byte %i", async (offset) => {
      await fixture.writeData(volume, offset, "off");
      await expectRefusal("VOLUME_NOT_EMPTY");
    });

    it("is refused for a LUKS container, whoever's key opens it", async () => {
      using passphrase = Secret.randomPassphrase();
      await fixture.backend.createEncrypted({ volume, uuid: newKeyUuid(), spec: SPEC, passphrase });
      await expectRefusal("LUKS_UUID_MISMATCH");
    });

    it("is refused while somebody can write", async () => {
      await whileOpen(fixture.plainNode(volume), () => expectRefusal("VOLUME_BUSY"));
    });

    it("is refused for what cannot be read", async () => {
      const broken = await fixture.breakReading(volume);
      expect(await codeOf(prover.requireEmpty(volume))).toBe("VOLUME_UNREADABLE");
      await broken[Symbol.asyncDispose]();
    });

    it("is refused for what is not there", async () => {
      expect(await codeOf(prover.requireEmpty(fixture.absent()))).toBe("VOLUME_NOT_FOUND");
    });
  });
}
