import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Keyslots } from "../../src/encryption/keyslots.js";
import type { ErrorCode } from "../../src/error/catalogue.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import { KeyLocks } from "../../src/keystore/key-locks.js";
import type { RecoverableDisk } from "../../src/recovery/recoverable-disk.js";
import { RecoveryKeyslots, type RecoveryPorts } from "../../src/recovery/recovery-keyslots.js";
import {
  newPassphraseFor,
  newPrintedPassphrase,
  parsePrintedPassphrase,
} from "../../src/recovery/recovery-passphrases.js";
import { KeyRotation } from "../../src/rotate/key-rotation.js";
import { Secret } from "../../src/secret/secret.js";
import { StorageRegistry } from "../../src/storage/index.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { codeOf, makeBackend, run } from "../storage/workshop.js";
import { Killer } from "./killer.js";
import { keyringOf, RecoveryLab } from "./recovery-lab.js";

describe.each(["raw", "qcow2"] as const)(
  "recovery keyslots of a %s volume",
  { timeout: 240_000 },
  (format) => {
    let lab: RecoveryLab;
    let disk: RecoverableDisk;
    let identity: ReturnType<RecoveryLab["identity"]>;

    beforeEach(async () => {
      lab = new RecoveryLab(format);
      disk = await lab.disk();
      identity = lab.identity();
    });
    afterEach(() => {
      lab[Symbol.dispose]();
    });

    const add = async (ports: RecoveryPorts = lab.ports) => {
      const made = await newPassphraseFor([identity.recipient]);
      using passphrase = made.passphrase;
      return await new RecoveryKeyslots(ports).add(disk, { ...made, passphrase });
    };

    /** What age gives out for the file, with the identity. */
    const decrypted = (path: string) =>
      Secret.own(Buffer.from(run("age", ["-d", "-i", identity.path, path])));

    it("opens with what age decrypts, beside the key's own passphrase", async () => {
      const entry = await add();

      expect(entry).toEqual({
        keyslot: 7,
        kind: "recipients",
        recipients: [identity.recipient],
        createdAt: lab.now.toISOString(),
      });
      expect((await lab.record(disk.uuid)).recovery).toEqual([entry]);
      const path = lab.files.path(disk.uuid, 7);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      using passphrase = decrypted(path);
      expect(await lab.opens(disk, passphrase)).toBe(7);
      expect(await lab.machineOpens(disk)).toBe(0);
      expect(readdirSync(lab.escrowDirectory)).toEqual([`${disk.uuid}.7.age`]);
      const [copy] = lab.vault.backups(disk.uuid);
      expect(copy?.digest).toBeDefined();
      expect(lab.vault.read(copy!).equals(await lab.header(disk))).toBe(true);
      expect(lab.audit.uses).toMatchObject([
        { event: "escrow", result: "done", key: disk.uuid, keystore: "local" },
      ]);
    });

    it("opens with a printed passphrase that was typed otherwise", { timeout: 240_000 }, async () => {
      using printed = newPrintedPassphrase();
      const entry = await new RecoveryKeyslots(lab.ports).add(disk, {
        passphrase: printed,
        holder: { kind: "passphrase" },
      });

      expect(entry.kind).toBe("passphrase");
      const lower = printed.use((text) => Buffer.from(text.toString().toLowerCase().replaceAll("-", " ")));
      const typed = parsePrintedPassphrase(lower);
      if (typed.kind !== "passphrase") throw new Error(typed.reason);
      using passphrase = typed.passphrase;
      expect(await lab.opens(disk, passphrase)).toBe(entry.keyslot);
      // the keyslot of a person takes long to try
      const header = await lab.header(disk);
      expect(header.readUInt32BE(208 + 48 * entry.keyslot + 4)).toBeGreaterThan(100_000);
    });

    it("destroys a keyslot, its file and the copies of the header that have it", async () => {
      const { keyslot } = await add();
      using passphrase = decrypted(lab.files.path(disk.uuid, keyslot));

      await new RecoveryKeyslots(lab.ports).remove(disk, keyslot);

      expect(await lab.opens(disk, passphrase)).toBeUndefined();
      expect(await lab.used(disk)).toEqual([0]);
      expect((await lab.record(disk.uuid)).recovery).toBeUndefined();
      expect(readdirSync(lab.escrowDirectory)).toEqual([]);
      const copies = lab.vault.backups(disk.uuid).map((copy) => lab.vault.read(copy));
      expect(copies).toHaveLength(1);
      expect(await lab.keyslots.find(copies[0]!, passphrase)).toBeUndefined();
    });

    it("refuses a keyslot that is none of recovery, and one more than there is room for", async () => {
      expect(await codeOf(new RecoveryKeyslots(lab.ports).remove(disk, 0))).toBe("USAGE");
      for (let count = 0; count < 7; count++) await add();
      const before = await lab.header(disk);
      expect(await codeOf(add())).toBe("KEYSLOT_NOT_FREE");
      expect((await lab.header(disk)).equals(before)).toBe(true);
      expect(await lab.machineOpens(disk)).toBe(0);
      expect((await lab.record(disk.uuid)).recovery).toHaveLength(7);
      expect(readdirSync(lab.escrowDirectory)).toHaveLength(7);
    });

    it.each<[string, Partial<KeyRecord>, ErrorCode]>([
      ["rotation", { rotation: { startedAt: "2026-08-01", keyslot: 1 } }, "ROTATION_REFUSED"],
      [
        "conversion in place",
        { conversion: { to: "encrypted", startedAt: "2026-08-01" } },
        "CONVERSION_UNFINISHED",
      ],
    ])("changes nothing while a %s has not ended", async (_, begun, code) => {
      const { keyslot } = await add();
      const record = await lab.record(disk.uuid);
      await lab.keystore.update({ ...record, ...begun });
      const before = await lab.header(disk);
      expect(await codeOf(add())).toBe(code);
      expect(await codeOf(new RecoveryKeyslots(lab.ports).remove(disk, keyslot))).toBe(code);
      expect((await lab.header(disk)).equals(before)).toBe(true);
      await lab.keystore.change(disk.uuid, () => record);
      await new RecoveryKeyslots(lab.ports).remove(disk, keyslot);
    });

    it("adds nothing where the audit, the vault or the escrow directory cannot be written", async () => {
      const before = await lab.header(disk);
      run("touch", [lab.escrowDirectory]);
      expect(await codeOf(add())).toMatch(/OUTPUT_UNWRITABLE|PERMISSIONS_UNSAFE/);
      rmSync(lab.escrowDirectory);
      expect(await codeOf(add({ ...lab.ports, storage: new StorageRegistry([]) }))).toBe(
        "VOLUME_UNSUPPORTED",
      );
      lab.audit.failure = new LuksmithError("AUDIT_UNWRITABLE", { what: "the audit log is full" });
      expect(await codeOf(add())).toBe("AUDIT_UNWRITABLE");
      expect((await lab.header(disk)).equals(before)).toBe(true);
      expect((await lab.record(disk.uuid)).recovery).toBeUndefined();
    });

    it("destroys a keyslot that nobody knows, and none that the key opens", async () => {
      using unknown = Secret.randomPassphrase();
      await addBySomebody(unknown);
      const keyslots = new RecoveryKeyslots(lab.ports);
      const { keyslot } = await add();
      for (const [number, which] of [
        [0, "unknown"],
        [keyslot, "unknown"],
        [5, "unknown"],
        [1, "recovery"],
      ] as const)
        expect(await codeOf(keyslots.remove(disk, number, which))).toBe("USAGE");
      expect(await lab.used(disk)).toEqual([0, 1, keyslot]);

      await keyslots.remove(disk, 1, "unknown");

      expect(await lab.used(disk)).toEqual([0, keyslot]);
      expect(await lab.opens(disk, unknown)).toBeUndefined();
      for (const copy of lab.vault.backups(disk.uuid))
        expect(await lab.keyslots.find(lab.vault.read(copy), unknown)).toBeUndefined();
      expect((await lab.record(disk.uuid)).recovery).toHaveLength(1);
    });

    /** With cryptsetup, as it were. */
    async function addBySomebody(added: Secret): Promise<void> {
      const { passphrase } = await lab.key(disk.uuid);
      using own = passphrase;
      const header = await lab.header(disk);
      const { pieces } = await lab.keyslots.add(header, { passphrase: own, added, strength: "machine" });
      await lab.workshop.backend.changeHeader(disk.volume, header.length, () => Promise.resolve(pieces));
    }

    it("waits for whoever works on the key", async () => {
      const locks = new KeyLocks(lab.workshop.runner, `${lab.workshop.root}/key-locks`, 1);
      const ports = { ...lab.ports, keyLocks: locks };
      const before = await lab.header(disk);
      await lab.ports.keyLocks.hold(disk.uuid, async () => {
        expect(await codeOf(add(ports))).toBe("LOCK_TIMEOUT");
        expect(await codeOf(new RecoveryKeyslots(ports).remove(disk, 7))).toBe("LOCK_TIMEOUT");
      });
      expect((await lab.header(disk)).equals(before)).toBe(true);
      await add(ports);
    });

    it("undoes nothing that another host rotates while the keyslot is derived", async () => {
      await add();
      /** Slow, so that all of a rotation comes to pass meanwhile. */
      class SlowKeyslots extends Keyslots {
        override async add(...args: Parameters<Keyslots["add"]>) {
          const change = await super.add(...args);
          await rotateElsewhere();
          return change;
        }
      }
      const keyslots = new SlowKeyslots(lab.workshop.runner);
      expect(await codeOf(add({ ...lab.ports, keyslots }))).toBe("VOLUME_BUSY");

      expect(await lab.machineOpens(disk)).toBe(1);
      const { generation, rotation, recovery } = await lab.record(disk.uuid);
      expect({ generation, rotation, recovery: recovery?.length }).toEqual({ generation: 2, recovery: 1 });
      const second = await add();
      expect(await lab.used(disk)).toEqual([1, second.keyslot, 7]);
      expect(lab.files.unfinished(disk.uuid)).toEqual([]);
    });

    /** A host with locks and header copies of its own. */
    async function rotateElsewhere(): Promise<void> {
      const { root, runner } = lab.workshop;
      const directory = `${root}/locks-elsewhere`;
      const { clock, audit } = lab.ports;
      const copies = { directory: `${root}/headers-elsewhere`, keep: 3 };
      const backend = makeBackend(format, runner, directory);
      const vault = new FileHeaderVault(copies, new VolumeLocks(runner, directory), clock);
      const target = { ...disk, backend, keystore: lab.keystore };
      const ports = { keyslots: lab.keyslots, vault, audit, clock, logger: new RecordingLogger() };
      expect(await new KeyRotation(target, ports, () => Promise.resolve()).rotate()).toBe("rotated");
    }

    /** As if nothing had happened since. */
    const snapshot = async () => {
      const { path } = disk.volume as { path: string };
      const [bytes, record] = [readFileSync(path), await lab.record(disk.uuid)];
      const names = readdirSync(lab.workshop.root).includes("escrow") ? readdirSync(lab.escrowDirectory) : [];
      const files = names.map((name) => [name, readFileSync(`${lab.escrowDirectory}/${name}`)] as const);
      return async () => {
        writeFileSync(path, bytes);
        await lab.keystore.change(disk.uuid, () => record);
        for (const name of readdirSync(lab.escrowDirectory)) rmSync(`${lab.escrowDirectory}/${name}`);
        for (const [name, file] of files)
          writeFileSync(`${lab.escrowDirectory}/${name}`, file, { mode: 0o600 });
      };
    };

    if (format === "raw")
      describe("killed after each effect", () => {
        const portsDyingAt = (killer: Killer): RecoveryPorts => ({
          ...lab.ports,
          keyring: keyringOf(killer.wrap(lab.keystore, ["change"])),
          storage: new StorageRegistry([killer.wrapBackend(lab.workshop.backend)]),
          vault: killer.wrap(lab.vault, ["keep", "destroy"]),
          files: killer.wrap(lab.files, ["begin", "finish", "forget"]),
        });

        /** What holds whenever somebody looks. */
        const expectSound = async () => {
          expect(await lab.machineOpens(disk)).toBe(0);
          for (const keyslot of lab.files.keyslots(disk.uuid)) {
            if (!(await lab.used(disk)).includes(keyslot)) continue;
            using passphrase = decrypted(lab.files.path(disk.uuid, keyslot));
            expect(await lab.opens(disk, passphrase)).toBe(keyslot);
          }
        };

        it("leaves no keyslot that the next call does not account for", { timeout: 180_000 }, async () => {
          const asBefore = await snapshot();
          const count = new Killer();
          await add(portsDyingAt(count));
          expect(count.effects).toBeGreaterThan(10);
          for (let at = 1; at <= count.effects; at++) {
            await asBefore();
            await expect(add(portsDyingAt(new Killer(at)))).rejects.toThrow("killed");
            await expectSound();
            const recorded = (await lab.record(disk.uuid)).recovery ?? [];

            await add();

            await expectSound();
            const entries = (await lab.record(disk.uuid)).recovery ?? [];
            expect(entries).toHaveLength(recorded.length + 1);
            expect(await lab.used(disk)).toEqual([0, ...entries.map(({ keyslot }) => keyslot).sort()]);
            expect(lab.files.keyslots(disk.uuid)).toHaveLength(entries.length);
            expect(lab.files.unfinished(disk.uuid)).toEqual([]);
          }
        });

        it("is removed by another call", { timeout: 180_000 }, async () => {
          await add();
          const asBefore = await snapshot();
          const count = new Killer();
          await new RecoveryKeyslots(portsDyingAt(count)).remove(disk, 7);
          for (let at = 1; at <= count.effects; at++) {
            await asBefore();
            await expect(new RecoveryKeyslots(portsDyingAt(new Killer(at))).remove(disk, 7)).rejects.toThrow(
              "killed",
            );
            await expectSound();
            if ((await lab.record(disk.uuid)).recovery !== undefined)
              await new RecoveryKeyslots(lab.ports).remove(disk, 7);
            expect(await lab.used(disk)).toEqual([0]);
            expect((await lab.record(disk.uuid)).recovery).toBeUndefined();
          }
        });
      });
  },
);
