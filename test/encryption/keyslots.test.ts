import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { luksHeaderLength, readLuksHeader } from "../../src/encryption/luks-header.js";
import type { LuksPiece } from "../../src/encryption/luks-image.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { type KeyslotChange, Keyslots } from "../../src/encryption/keyslots.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { codeOf, SPEC } from "../storage/workshop.js";
import { newHeader, sectorsOf, withPieces } from "./header-bytes.js";

const SECTOR = 512;
const uuid = newKeyUuid();

describe.each<Exclude<EncryptionFormat, "plain">>(["luks", "luksv2"])("keyslots of %s", (format) => {
  const runner = new RecordingCommandRunner();
  const keyslots = new Keyslots(runner);
  let first: Secret;
  let second: Secret;
  let header: Buffer;

  beforeEach(async () => {
    [first, second] = [Secret.randomPassphrase(), Secret.randomPassphrase()];
    header = await newHeader(runner, { uuid, spec: { ...SPEC, format }, passphrase: first });
    runner.commands.length = 0;
  });
  afterEach(() => {
    first.dispose();
    second.dispose();
  });

  const add = (keyslot?: number, bytes = header): Promise<KeyslotChange> =>
    keyslots.add(bytes, {
      ...{ passphrase: first, added: second, strength: "machine" },
      ...(keyslot === undefined ? {} : { keyslot }),
    });
  const after = ({ pieces }: KeyslotChange, bytes = header): Buffer => withPieces(bytes, pieces);
  const accepted = (bytes: Buffer) =>
    readLuksHeader(bytes.subarray(0, luksHeaderLength(bytes)), ["luks", "luksv2"]);

  it("adds one with 1000 iterations at the lowest free number, and both passphrases open it", async () => {
    const change = await add();
    expect(change.keyslot).toBe(1);
    const changed = after(change);
    expect(accepted(changed)).toMatchObject({ kind: "luks", header: { uuid } });
    expect(await keyslots.find(changed, first)).toBe(0);
    expect(await keyslots.find(changed, second)).toBe(1);
    expect(keyslots.used(changed)).toEqual([0, 1]);
    const parsed = accepted(changed);
    if (parsed.kind !== "luks") throw new Error("it is no header");
    expect(parsed.header.keyslots.filter(({ active }) => active).map((k) => k.iterations)).toEqual([
      1000, 1000,
    ]);
  });

  it("does not change the bytes that it is given", async () => {
    const before = Buffer.from(header);
    const { pieces } = await add();
    for (const { bytes } of pieces) expect(bytes.length).toBeGreaterThan(0);
    expect(header.equals(before)).toBe(true);
  });

  it("tells which keyslot opens, of all and of one", async () => {
    const changed = after(await add(5));
    expect(await keyslots.find(changed, second)).toBe(5);
    expect(await keyslots.find(changed, second, 5)).toBe(5);
    expect(await keyslots.find(changed, second, 0)).toBeUndefined();
    expect(await keyslots.find(changed, second, 4)).toBeUndefined();
    using wrong = Secret.randomPassphrase();
    expect(await keyslots.find(changed, wrong)).toBeUndefined();
  });

  it("makes a person's keyslot strong, and the last to be tried", { timeout: 60_000 }, async () => {
    const change = await keyslots.add(header, { passphrase: first, added: second, strength: "person" });
    expect(change.keyslot).toBe(7);
    const parsed = accepted(after(change));
    if (parsed.kind !== "luks") throw new Error("it is no header");
    const strong = parsed.header.keyslots.filter(({ active }) => active).at(-1);
    expect(strong?.iterations).toBeGreaterThan(format === "luks" ? 100_000 : 3);
  });

  it("refuses a keyslot in use, one that no header has, and a passphrase that opens none", async () => {
    expect(await codeOf(add(0))).toBe("KEYSLOT_NOT_FREE");
    expect(await codeOf(add(format === "luks" ? 8 : 32))).toBe("KEYSLOT_NOT_FREE");
    const wrong = { passphrase: second, added: first, strength: "machine" } as const;
    expect(await codeOf(keyslots.add(header, wrong))).toBe("PASSPHRASE_REJECTED");
    expect(await codeOf(keyslots.add(Buffer.alloc(header.length), wrong))).toBe("LUKS_HEADER_INVALID");
  });

  it("refuses a ninth keyslot where eight have room", async () => {
    let full = header;
    for (let used = 1; used < 8; used++) {
      const change = await add(undefined, full);
      expect(change.keyslot).toBe(used);
      full = withPieces(full, change.pieces);
    }
    expect(keyslots.used(full)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await codeOf(add(undefined, full))).toBe("KEYSLOT_NOT_FREE");
  });

  it("destroys a keyslot with its key material, and leaves the others", async () => {
    const changed = after(await add(3));
    const removal = await keyslots.remove(changed, { keyslot: 0, passphrase: second });
    const left = after(removal, changed);
    expect(keyslots.used(left)).toEqual([3]);
    expect(await keyslots.find(left, first)).toBeUndefined();
    expect(await keyslots.find(left, second)).toBe(3);
    // with the old header block back, the passphrase finds no key material any more
    const blockLength = format === "luks" ? 4096 : 32_768;
    const forged = Buffer.concat([changed.subarray(0, blockLength), left.subarray(blockLength)]);
    expect(keyslots.used(forged)).toEqual([0, 3]);
    expect(await keyslots.find(forged, first)).toBeUndefined();
  });

  it("never destroys what nothing else would open", async () => {
    const changed = after(await add());
    const only = (bytes: Buffer, keyslot: number, passphrase: Secret) =>
      codeOf(keyslots.remove(bytes, { keyslot, passphrase }));
    expect(await only(header, 0, first)).toBe("PASSPHRASE_REJECTED");
    expect(await only(changed, 0, first)).toBe("PASSPHRASE_REJECTED");
    expect(await only(changed, 1, second)).toBe("PASSPHRASE_REJECTED");
    using wrong = Secret.randomPassphrase();
    expect(await only(changed, 1, wrong)).toBe("PASSPHRASE_REJECTED");
  });

  it("wipes what a killed removal has left of a keyslot that is not in use any more", async () => {
    const changed = after(await add());
    const { pieces } = await keyslots.remove(changed, { keyslot: 1, passphrase: first });
    const blocks = pieces.filter(({ offset }) => offset < (format === "luks" ? 4096 : 32_768));
    const killed = withPieces(changed, blocks);
    expect(keyslots.used(killed)).toEqual([0]);

    const again = await keyslots.remove(killed, { keyslot: 1, passphrase: first });
    const done = withPieces(killed, again.pieces);
    const forged = withPieces(done, [
      { offset: 0, bytes: changed.subarray(0, format === "luks" ? 4096 : 32_768) },
    ]);
    expect(keyslots.used(forged)).toEqual([0, 1]);
    expect(await keyslots.find(forged, second)).toBeUndefined();
    expect(await keyslots.find(done, first)).toBe(0);
  });

  it("gives a header another UUID, and nothing else", async () => {
    const other = newKeyUuid();
    const pieces = keyslots.renamed(header, other);
    const renamed = withPieces(header, pieces);
    expect(accepted(renamed)).toMatchObject({ kind: "luks", header: { uuid: other } });
    expect(await keyslots.find(renamed, first)).toBe(0);
    expect(keyslots.renamed(header, uuid)).toEqual([]);
    expect(accepted(withPieces(renamed, keyslots.renamed(renamed, uuid)))).toMatchObject({
      header: { uuid },
    });
  });

  it("gives no process a passphrase in its arguments", async () => {
    const changed = after(await add());
    await keyslots.remove(changed, { keyslot: 0, passphrase: second });
    for (const secret of [first, second]) {
      const text = secret.use((bytes) => bytes.toString());
      expect(runner.lines.filter((line) => line.includes(text))).toEqual([]);
    }
    expect(runner.lines.length).toBeGreaterThan(3);
  });

  describe("torn by a power cut", () => {
    /** Every state that a kill between two sectors of these pieces can leave; of key material a few. */
    function* torn(bytes: Buffer, pieces: readonly LuksPiece[]): Generator<[string, Buffer]> {
      const sectors = sectorsOf(pieces);
      for (let count = 0; count <= sectors.length; count++) {
        const [last, next] = [sectors[count - 1], sectors[count]];
        const isMaterial = last !== undefined && next !== undefined && next.offset - last.offset === SECTOR;
        const isBlock = (next?.offset ?? 0) < 65_536;
        if (isMaterial && !isBlock && count % 100 !== 50) continue;
        yield [`after ${count} of ${sectors.length} sectors`, withPieces(bytes, sectors.slice(0, count))];
      }
    }

    it.each(format === "luks" ? [1, 5, 6, 7] : [1])(
      "opens with the old passphrase wherever an addition of keyslot %i ends",
      { timeout: 120_000 },
      async (keyslot) => {
        const { pieces } = await add(keyslot);
        for (const [when, bytes] of torn(header, pieces)) {
          if (format === "luks") expect(accepted(bytes), when).toMatchObject({ kind: "luks" });
          expect(await opens(bytes, first), when).toBe(true);
        }
        expect(await opens(withPieces(header, pieces), second)).toBe(true);
      },
    );

    it.each(format === "luks" ? [0, 6, 7] : [0])(
      "opens with the passphrase that is left wherever a removal of keyslot %i ends",
      { timeout: 120_000 },
      async (keyslot) => {
        const other = keyslot === 0 ? 1 : keyslot;
        const changed = after(await add(other));
        const left = keyslot === 0 ? second : first;
        const { pieces } = await keyslots.remove(changed, { keyslot, passphrase: left });
        for (const [when, bytes] of torn(changed, pieces)) {
          if (format === "luks") expect(accepted(bytes), when).toMatchObject({ kind: "luks" });
          expect(await opens(bytes, left), when).toBe(true);
        }
      },
    );

    /** Asks cryptsetup alone, which mends a torn copy of LUKS2 by the other one. */
    async function opens(bytes: Buffer, passphrase: Secret): Promise<boolean> {
      const { openMemoryFile, secretFile } = await import("../../src/secret/secret-file.js");
      const { writeSync } = await import("node:fs");
      using copy = openMemoryFile(bytes.length + 1024 * 1024);
      writeSync(copy.fd, bytes, 0, bytes.length, 0);
      using key = secretFile(passphrase);
      const { exitCode } = await runner.run({
        tool: "cryptsetup",
        args: ["open", "--test-passphrase", "--key-file", "/proc/self/fd/4", "--", "/proc/self/fd/3"],
        fds: [copy.fd, key.fd],
        answers: [1, 2],
      });
      return exitCode === 0;
    }

    if (format !== "luks") return;
    it("writes the second sector of keyslot 6 before the state that stands in the first", async () => {
      const added = (await add(6)).pieces.map(({ offset }) => offset);
      expect(added.slice(-2)).toEqual([SECTOR, 0]);
      const changed = after(await add(6));
      const removed = await keyslots.remove(changed, { keyslot: 6, passphrase: first });
      expect(removed.pieces.map(({ offset }) => offset).slice(0, 2)).toEqual([0, SECTOR]);
    });
  });
});
