import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Keyslots } from "../../src/encryption/keyslots.js";
import type { LuksPiece } from "../../src/encryption/luks-image.js";
import type { LuksSpec } from "../../src/encryption/luks-spec.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import type { FormatRequest, StorageBackend } from "../../src/storage/storage-backend.js";
import { qemuIo } from "../storage/qemu.js";
import { whileOpen } from "../storage/running-guest.js";
import { codeOf, MIB, SPEC } from "../storage/workshop.js";
import type { StorageFixture } from "./storage-fixture.js";

const SIZE = 8 * MIB;
const MAGIC = Buffer.from("LUKS\xba\xbe\0", "latin1");

/** How storage backends read and write the headers of LUKS containers that they carry. */
export function headerChangeContract(
  name: string,
  make: () => StorageFixture | Promise<StorageFixture>,
  format: LuksSpec["format"],
): void {
  describe(`${name}: the contract of changing ${format} headers`, () => {
    let fixture: StorageFixture;
    let backend: StorageBackend;
    let request: FormatRequest;
    let keyslots: Keyslots;
    let added: Secret;
    let length: number;

    beforeEach(async () => {
      fixture = await make();
      ({ backend } = fixture);
      keyslots = new Keyslots(fixture.runner);
      const [volume, spec] = [await fixture.makeEmpty("disk", SIZE), { ...SPEC, format }];
      request = { volume, uuid: newKeyUuid(), spec, passphrase: Secret.randomPassphrase() };
      added = Secret.randomPassphrase();
      length = (await backend.createEncrypted(request)).payloadOffset;
      // what a guest has written, wherever it lies
      if (format === "luks")
        qemuIo(backend.qemuNode(volume, "key"), ["write -P 0x77 0 4M"], request.passphrase);
    });
    afterEach(async () => {
      request.passphrase.dispose();
      added.dispose();
      await fixture[Symbol.asyncDispose]();
    });

    const add = async (header: Buffer): Promise<readonly LuksPiece[]> => {
      const { passphrase } = request;
      return (await keyslots.add(header, { passphrase, added, strength: "machine" })).pieces;
    };
    const remove = (keyslot: number, passphrase: Secret) => async (header: Buffer) =>
      (await keyslots.remove(header, { keyslot, passphrase })).pieces;
    const change = (work: (header: Buffer) => Promise<readonly LuksPiece[]>, by = backend) =>
      by.changeHeader(request.volume, length, work);
    const opens = (passphrase: Secret) => backend.testPassphrase(request.volume, passphrase);

    /** All that is not the header. */
    async function besides(): Promise<Buffer> {
      const bytes = await fixture.bytes(request.volume);
      const start = bytes.indexOf(MAGIC);
      return Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + length)]);
    }

    it("reads the header from the container's start to its payload", async () => {
      const before = await fixture.state();
      const header = await backend.readHeader(request.volume);
      expect(header).toHaveLength(2 * MIB);
      expect(header.subarray(0, MAGIC.length).equals(MAGIC)).toBe(true);
      expect(await keyslots.find(header, request.passphrase)).toBe(0);
      expect(await fixture.state()).toEqual(before);
    });

    it("says so when there is none to be read", async () => {
      expect(await codeOf(backend.readHeader(fixture.absent()))).toBe("VOLUME_NOT_FOUND");
      const empty = await fixture.makeEmpty("empty", SIZE);
      expect(await codeOf(backend.readHeader(empty))).toBe("VOLUME_NOT_FORMATTED");
    });

    it("adds and destroys keyslots, and leaves every byte of the payload as it was", async () => {
      const before = await besides();
      await change(add);
      await Promise.all([opens(request.passphrase), opens(added)]);
      expect((await besides()).equals(before)).toBe(true);

      await change(remove(0, added));
      expect(await codeOf(opens(request.passphrase))).toBe("PASSPHRASE_REJECTED");
      await opens(added);
      expect((await besides()).equals(before)).toBe(true);
    });

    it("gives a volume another UUID", async () => {
      const uuid = newKeyUuid();
      await change((header) => Promise.resolve(keyslots.renamed(header, uuid)));
      expect(await backend.probe(request.volume, "header")).toMatchObject({ header: { uuid } });
      await opens(request.passphrase);
    });

    it("lets the second of two changes at once see what the first has written", async () => {
      using third = Secret.randomPassphrase();
      const { passphrase } = request;
      const addThird = async (header: Buffer) =>
        (await keyslots.add(header, { passphrase, added: third, strength: "machine" })).pieces;
      await Promise.all([change(add), change(addThird, fixture.another())]);
      expect(keyslots.used(await backend.readHeader(request.volume))).toEqual([0, 1, 2]);
      for (const each of [passphrase, added, third]) await opens(each);
    });

    it("opens with the old passphrase whatever piece a kill was after", async () => {
      const pieces = await add(await backend.readHeader(request.volume));
      expect(pieces.length).toBeGreaterThan(1);
      for (const [index, piece] of pieces.entries()) {
        await change(() => Promise.resolve([piece]));
        if (format === "luks" || index !== pieces.length - 1) await opens(request.passphrase);
      }
      await opens(added);
    });

    it("writes nothing for no pieces, and nothing when the change is given up", async () => {
      const before = await fixture.state();
      await change(() => Promise.resolve([]));
      await expect(change(() => Promise.reject(new Error("given up")))).rejects.toThrow("given up");
      expect(await fixture.state()).toEqual(before);
    });

    it("writes nothing behind the header, nor before it", async () => {
      const before = await fixture.state();
      for (const offset of [-512, length - 256, length])
        await expect(change(() => Promise.resolve([{ offset, bytes: Buffer.alloc(512) }]))).rejects.toThrow(
          /does not lie within the header/,
        );
      expect(await fixture.state()).toEqual(before);
    });

    it("gives the bytes as they are when they are no header, and writes them anew", async () => {
      const header = await backend.readHeader(request.volume);
      await change(() => Promise.resolve([{ offset: 0, bytes: Buffer.alloc(length) }]));
      expect(["LUKS_HEADER_INVALID", "VOLUME_NOT_FORMATTED"]).toContain(
        await codeOf(backend.readHeader(request.volume)),
      );
      await change((found) => {
        expect(found.equals(Buffer.alloc(length))).toBe(true);
        return Promise.resolve([{ offset: 0, bytes: header }]);
      });
      await opens(request.passphrase);
    });

    it("refuses a volume that is too small, absent, or no longer under its name", async () => {
      const nothing = () => Promise.resolve([]);
      const before = await fixture.state();
      expect(["VOLUME_TOO_SMALL", "VOLUME_UNSUPPORTED"]).toContain(
        await codeOf(backend.changeHeader(request.volume, 64 * MIB, nothing)),
      );
      expect(await codeOf(backend.changeHeader(fixture.absent(), length, nothing))).toBe("VOLUME_NOT_FOUND");
      expect(await fixture.state()).toEqual(before);

      let isReplaced = false;
      const replaced = change(async (header) => {
        // what is found to have changed meanwhile is asked for its change anew
        if (!isReplaced) await fixture.replace(request.volume);
        isReplaced = true;
        return await add(header);
      });
      const codes: readonly unknown[] = ["VOLUME_NOT_FOUND", "VOLUME_UNREADABLE", "LUKS_HEADER_INVALID"];
      expect(codes).toContain(await codeOf(replaced));
      expect(await backend.probe(request.volume, "read")).toEqual({ kind: "empty" });
    });

    it("says so when it cannot write, and the old passphrase opens the volume", async () => {
      const broken = await fixture.breakWriting(request.volume);
      expect(await codeOf(change(add))).toBe("VOLUME_WRITE_FAILED");
      await broken[Symbol.asyncDispose]();
      await opens(request.passphrase);
      await change(add);
      await opens(added);
    });

    if (format !== "luks") return;
    it("changes it while a guest has the volume open, and the guest's bytes stay", async () => {
      const node = backend.qemuNode(request.volume, "key");
      const before = await besides();
      await whileOpen(node, () => change(add), request.passphrase);
      await whileOpen(node, () => change(remove(0, added)), added);
      expect((await besides()).equals(before)).toBe(true);
      qemuIo(node, ["read -P 0x77 0 4M", "write -P 0x33 0 64k"], added);
    });

    it("does not change it alone while a guest has the volume open, and does when that has ended", async () => {
      const node = backend.qemuNode(request.volume, "key");
      const alone = () => backend.changeHeader(request.volume, length, add, "excluded");
      const before = await backend.readHeader(request.volume);
      expect(await whileOpen(node, () => codeOf(alone()), request.passphrase)).toBe("VOLUME_BUSY");
      expect((await backend.readHeader(request.volume)).equals(before)).toBe(true);
      await alone();
      await opens(added);
    });
  });
}
