import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import { type HeaderPorts, stateOf } from "../../src/headers/header-state.js";
import type { HeaderBackup } from "../../src/headers/header-vault.js";
import { restoreVolume } from "../../src/headers/restore-volume.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { createStorageRegistry } from "../../src/storage/index.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { RecordingAudit } from "../fake/recording-audit.js";
import { sampleRecord } from "../keystore/sample-key.js";
import { whileOpen } from "../storage/running-guest.js";
import {
  codeOf,
  type FileVolume,
  type ImageFormat,
  MIB,
  qemuIo,
  run,
  SPEC,
  Workshop,
} from "../storage/workshop.js";

describe.each<ImageFormat>(["raw", "qcow2"])("restoring the header of a %s volume", (format) => {
  let workshop: Workshop;
  let volume: FileVolume;
  let uuid: ReturnType<typeof newKeyUuid>;
  let passphrase: Secret;
  let audit: RecordingAudit;
  let ports: HeaderPorts;
  let copy: HeaderBackup;
  /** What the keystore gives, or why it gives nothing. */
  let answer: () => Secret | undefined;
  let conversion: Pick<KeyRecord, "conversion">;
  /** What the key's passphrase was before a rotation. */
  let former: Secret | undefined;

  beforeEach(async () => {
    workshop = new Workshop(format);
    volume = workshop.makeEmpty("disk", 8 * MIB);
    [uuid, passphrase, audit] = [newKeyUuid(), Secret.randomPassphrase(), new RecordingAudit()];
    answer = () => copyOf(passphrase);
    [conversion, former] = [{}, undefined];
    const { runner, settings, lockDirectory, root } = workshop;
    const locks = new VolumeLocks(runner, lockDirectory);
    const keep = { directory: join(root, "headers"), keep: 1 };
    ports = {
      storage: createStorageRegistry(runner, settings, locks),
      keyring: new Keyring([{ name: "here", make: () => Promise.resolve(keystore()) }]),
      vault: new FileHeaderVault(keep, locks, { now: () => new Date() }),
      keyslots: new Keyslots(runner),
    };
    await workshop.backend.createEncrypted({ volume, uuid, spec: SPEC, passphrase });
    qemuIo(node(), ["write -P 0x44 0 4M"], passphrase);
    copy = await keepCopy();
  });
  afterEach(() => {
    passphrase.dispose();
    workshop[Symbol.dispose]();
  });

  const node = () => workshop.backend.qemuNode(volume, "key");

  function keystore(): Keystore {
    const archived = sampleRecord({
      uuid: newKeyUuid(),
      archived: { of: uuid, generation: 1, at: "2026-01-02T03:04:05.000Z" },
    });
    const fetch = () => {
      const given = answer();
      const key = given && { record: sampleRecord({ uuid, ...conversion }), passphrase: given };
      return Promise.resolve(key);
    };
    const find = () => Promise.resolve(former === undefined ? [] : [archived]);
    const fetchAny = (which: string) =>
      which === uuid ? fetch() : Promise.resolve(former && { record: archived, passphrase: copyOf(former) });
    return { name: "here", type: "fake", fetch: fetchAny, find } as unknown as Keystore;
  }

  async function keepCopy(): Promise<HeaderBackup> {
    const header = await workshop.backend.readHeader(volume);
    return ports.vault.keep({ uuid, volume: volume.path, header, reason: "asked" });
  }

  const write = (offset: number, bytes: Buffer) =>
    workshop.backend.changeHeader(volume, copy.length, () => Promise.resolve([{ offset, bytes }]));
  const wipe = () => write(0, Buffer.alloc(copy.length));
  const restore = () => restoreVolume({ volume, uuid }, copy, { ...ports, audit });

  async function addKeyslot(): Promise<Secret> {
    const added = Secret.randomPassphrase();
    await workshop.backend.changeHeader(volume, copy.length, async (header) => {
      return (await ports.keyslots.add(header, { passphrase, added, strength: "machine" })).pieces;
    });
    return added;
  }

  it("brings a wiped volume back, with every byte of its guest, and keeps what was there", async () => {
    await wipe();
    expect(await stateOf({ volume, uuid }, ports)).toMatchObject({
      ...{ header: "unknown", inCopy: 0 },
      damage: expect.any(LuksmithError) as LuksmithError,
    });
    // of zeros nothing is worth being kept
    expect(await restore()).toEqual({ outcome: "restored", opensWith: "current" });
    qemuIo(node(), ["read -P 0x44 0 4M"], passphrase);
    expect(await stateOf({ volume, uuid }, ports)).toMatchObject({
      header: 0,
      inCopy: 0,
      drift: { kind: "same" },
    });
    const use = { event: "header-restore", key: uuid, result: "done" };
    expect(audit.uses).toMatchObject([{ ...use, detail: expect.stringMatching(/^begins/) as string }, use]);
  });

  it("writes nothing to a volume that has this very header", async () => {
    const before = workshop.state();
    expect(await restore()).toEqual({ outcome: "unchanged", opensWith: "current" });
    expect(workshop.state()).toEqual(before);
  });

  it("tells which keyslots are not as in the copy", async () => {
    (await addKeyslot()).dispose();
    const drift = { kind: "changed", keyslots: [{ keyslot: 1, change: "added" }] };
    expect(await stateOf({ volume, uuid }, ports)).toMatchObject({ drift, header: 0, inCopy: 0 });
    await keepCopy();
    // key material of keyslot 1, and then its state
    await write(4096 + 258_048, Buffer.alloc(4096, 7));
    const changed = { kind: "changed", keyslots: [{ keyslot: 1, change: "changed" }] };
    expect(await stateOf({ volume, uuid }, ports)).toMatchObject({ drift: changed });
    await write(208 + 48, Buffer.from("0000dead", "hex"));
    const destroyed = { kind: "changed", keyslots: [{ keyslot: 1, change: "destroyed" }] };
    expect(await stateOf({ volume, uuid }, ports)).toMatchObject({ drift: destroyed });
  });

  it("finds damage that the header's form does not show: key material", async () => {
    await write(4096, Buffer.alloc(4096, 7));
    expect(await stateOf({ volume, uuid }, ports)).toMatchObject({ header: "none", inCopy: 0 });
    expect((await restore()).outcome).toBe("restored");
    qemuIo(node(), ["read -P 0x44 0 4M"], passphrase);
  });

  it("writes no copy that the key's passphrase does not open", async () => {
    await wipe();
    const before = workshop.state();
    answer = () => Secret.randomPassphrase();
    expect(await codeOf(restore())).toBe("PASSPHRASE_REJECTED");
    answer = () => undefined;
    expect(await codeOf(restore())).toBe("KEY_NOT_FOUND");
    expect(workshop.state()).toEqual(before);
    const codes = audit.uses.flatMap(({ result, code }) =>
      result === "done" ? [] : [`${result} ${code ?? ""}`],
    );
    expect(codes).toEqual(["failed PASSPHRASE_REJECTED", "failed KEY_NOT_FOUND"]);
  });

  it("takes a copy from before a rotation where the volume has lost its header, and says so", async () => {
    using next = await addKeyslot();
    former = passphrase;
    answer = () => copyOf(next);
    // one that opens is not put back to a passphrase that was rotated away
    const before = workshop.state();
    expect(await codeOf(restore())).toBe("PASSPHRASE_REJECTED");
    expect(workshop.state()).toEqual(before);
    await write(0, Buffer.alloc(4096));
    expect(await restore()).toMatchObject({ outcome: "restored", opensWith: "former" });
    qemuIo(node(), ["read -P 0x44 0 4M"], passphrase);
  });

  it("writes no copy to a volume with the header of another key", async () => {
    const other = newKeyUuid();
    await workshop.backend.changeHeader(volume, copy.length, (header) =>
      Promise.resolve(ports.keyslots.renamed(header, other)),
    );
    const before = workshop.state();
    expect(await codeOf(restore())).toBe("LUKS_UUID_MISMATCH");
    expect(workshop.state()).toEqual(before);
  });

  it("writes nothing over what a conversion in place has not moved yet", async () => {
    await wipe();
    const before = workshop.state();
    conversion = { conversion: { to: "encrypted", startedAt: "2026-01-02T03:04:05.000Z" } };
    expect(await codeOf(restore())).toBe("CONVERSION_UNFINISHED");
    expect(workshop.state()).toEqual(before);
    expect(audit.uses.at(-1)).toMatchObject({ result: "refused", code: "CONVERSION_UNFINISHED" });
  });

  it("keeps what damage has left of the header, and writes over it", async () => {
    await write(0, Buffer.alloc(4096 + 65_536, 0x5a));
    const { outcome, overwritten = "" } = await restore();
    expect(outcome).toBe("restored");
    expect(readFileSync(overwritten).subarray(0, 4096).equals(Buffer.alloc(4096, 0x5a))).toBe(true);
    qemuIo(node(), ["read -P 0x44 0 4M"], passphrase);
  });

  it("writes nothing over what may be a guest's data, and keeps no copy of it", async () => {
    await write(0, randomBytes(copy.length));
    const before = workshop.state();
    expect(await codeOf(restore())).toBe("VOLUME_NOT_EMPTY");
    expect(workshop.state()).toEqual(before);
    expect(readdirSync(dirname(copy.path)).filter((name) => name.endsWith(".overwritten"))).toEqual([]);
    // which a person has looked at
    await wipe();
    expect((await restore()).outcome).toBe("restored");
  });

  if (format === "raw") {
    it("writes nothing over a file system, though key material is left", async () => {
      run("mkfs.ext4", ["-q", "-F", volume.path, "1M"]);
      expect((await readFile(volume.path)).subarray(0, copy.length).equals(ports.vault.read(copy))).toBe(
        false,
      );
      const before = workshop.state();
      await expect(restore()).rejects.toMatchObject({
        code: "VOLUME_NOT_EMPTY",
        why: expect.stringContaining("ext4") as string,
      });
      expect(workshop.state()).toEqual(before);
    });
  }

  it("writes nothing while a QEMU has the volume open, of whatever host", async () => {
    (await addKeyslot()).dispose();
    const before = workshop.state();
    await whileOpen(node(), async () => expect(await codeOf(restore())).toBe("VOLUME_BUSY"), passphrase);
    expect(workshop.state()).toEqual(before);
    expect((await restore()).outcome).toBe("restored");
  });

  it("begins nothing when it could not be recorded, or when what is there cannot be kept", async () => {
    await write(0, Buffer.alloc(4096));
    const before = workshop.state();
    audit.failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "no room" });
    expect(await codeOf(restore())).toBe("AUDIT_UNWRITABLE");
    audit.failure = undefined;
    const refusing = Object.assign(Object.create(ports.vault) as typeof ports.vault, {
      setAside: () => Promise.reject(new LuksmithError("HEADER_BACKUP_FAILED", { what: "no room" })),
    });
    const full = { ...ports, audit, vault: refusing };
    expect(await codeOf(restoreVolume({ volume, uuid }, copy, full))).toBe("HEADER_BACKUP_FAILED");
    expect(workshop.state()).toEqual(before);
  });

  it("keeps the copy that it restores from, where the settings keep one alone", async () => {
    (await addKeyslot()).dispose();
    const { overwritten = "" } = await restore();
    expect(ports.vault.backups(uuid)).toEqual([copy]);
    expect(readdirSync(join(overwritten, ".."))).toHaveLength(3);
    expect(ports.keyslots.used(await workshop.backend.readHeader(volume))).toEqual([0]);
  });
});

function copyOf(secret: Secret): Secret {
  return secret.use((bytes) => Secret.own(Buffer.from(bytes)));
}
