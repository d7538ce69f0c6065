import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { encryptFor } from "../../src/keystore/transfer/age.js";
import { writeEscrow } from "../../src/keystore/transfer/escrow.js";
import { readIdentities } from "../../src/keystore/transfer/identities.js";
import { copyOut } from "../../src/recovery/copy-out.js";
import { endedRecovery } from "../../src/recovery/ended-recovery.js";
import { giveKey } from "../../src/recovery/give-key.js";
import { openVolume } from "../../src/recovery/opened-volume.js";
import { escrowedPassphrase, typedPassphrase } from "../../src/recovery/passphrase-source.js";
import type { RecoverableDisk } from "../../src/recovery/recoverable-disk.js";
import { RecoveryKeyslots } from "../../src/recovery/recovery-keyslots.js";
import { newPassphraseFor, newPrintedPassphrase } from "../../src/recovery/recovery-passphrases.js";
import { parseKeyRecord, recordOf } from "../../src/recovery/recovered-record.js";
import { escrowedKeyslots } from "../../src/recovery/taken-over.js";
import { restoreHeader } from "../../src/headers/restore-header.js";
import { volumeArgument } from "../../src/storage/volume-argument.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import { Secret } from "../../src/secret/secret.js";
import { codeOf, type FileVolume, MIB, qemuIo, run, sha256 } from "../storage/workshop.js";
import { Killer } from "./killer.js";
import { RecoveryLab } from "./recovery-lab.js";

describe.each(["raw", "qcow2"] as const)(
  "recovering a %s volume without its keystore",
  { timeout: 240_000 },
  (format) => {
    let lab: RecoveryLab;
    let disk: RecoverableDisk & { readonly volume: FileVolume };
    let identity: ReturnType<RecoveryLab["identity"]>;
    let file: Buffer;

    beforeEach(async () => {
      lab = new RecoveryLab(format);
      disk = await lab.disk();
      identity = lab.identity();
      const made = await newPassphraseFor([identity.recipient]);
      using passphrase = made.passphrase;
      await new RecoveryKeyslots(lab.ports).add(disk, { ...made, passphrase });
      file = lab.files.read(disk.uuid, 7)!;
      const key = await lab.key(disk.uuid);
      using own = key.passphrase;
      qemuIo(lab.workshop.backend.qemuNode(disk.volume, "key"), ["write -P 0x77 1M 64k"], own);
    });
    afterEach(() => {
      lab[Symbol.dispose]();
    });

    const escrowed = () => escrowedPassphrase(file, identity.path, disk.uuid, () => Promise.resolve(true));
    const opened = (passphrase: Secret) =>
      openVolume(volumeArgument(disk.volume.path), passphrase, lab.ports);

    it("finds the image format by itself, and the keyslot that opens", async () => {
      expect(volumeArgument(disk.volume.path)).toEqual(disk.volume);
      using passphrase = (await escrowed()).passphrase;
      expect(await opened(passphrase)).toMatchObject({ keyslot: 7, header: { uuid: disk.uuid } });
      using wrong = Secret.randomPassphrase();
      expect(await codeOf(opened(wrong))).toBe("PASSPHRASE_REJECTED");
    });

    it("takes the passphrase out of a file of keys export, with the key's record", async () => {
      const key = await lab.key(disk.uuid);
      using machine = key.passphrase;
      using plaintext = writeEscrow([{ ...key, passphrase: machine, keystore: "local" }], lab.now);
      file = await encryptFor([identity.recipient], plaintext, "binary");
      const { passphrase, record } = await escrowed();
      using found = passphrase;
      expect(record).toEqual(key.record);
      expect((await opened(found)).keyslot).toBe(0);
    });

    it("takes a former passphrase out of it where that one opens, and no record of it", async () => {
      const key = await lab.key(disk.uuid);
      using machine = key.passphrase;
      using other = Secret.randomPassphrase();
      const archived = { of: disk.uuid, generation: 1, at: lab.now.toISOString() };
      const record = { ...key.record, uuid: newKeyUuid(), state: "archived" as const, archived };
      const former = { record, passphrase: machine, keystore: "local" };
      const current = { record: { ...key.record, generation: 2 }, passphrase: other, keystore: "local" };
      const header = await lab.header(disk);
      const opens = async (secret: Secret) => (await lab.keyslots.find(header, secret)) !== undefined;
      for (const keys of [[former], [current, former]]) {
        using plaintext = writeEscrow(keys, lab.now);
        file = await encryptFor([identity.recipient], plaintext, "binary");
        const given = await escrowedPassphrase(file, identity.path, disk.uuid, opens);
        using found = given.passphrase;
        expect(found.equals(machine)).toBe(true);
        expect(given.record?.uuid).toBe(keys.length === 1 ? undefined : disk.uuid);
      }
    });

    it("takes no key that another process works with, and says of one that did not open", async () => {
      using passphrase = (await escrowed()).passphrase;
      const volume = await opened(passphrase);
      const keystore = new FileKeystore({
        name: "new",
        type: "file",
        directory: join(lab.workshop.root, "new"),
      });
      const record = recordOf(volume.header, disk.volume, { guest: disk.guest, disk: "vda" }, lab.now);
      using old = Secret.randomPassphrase();
      await keystore.store({ record, passphrase: old });
      const give = () =>
        giveKey(volume, {
          ...{ passphrase, record, keystore, keyslots: lab.keyslots, now: lab.now },
          beforeChange: () => Promise.resolve(),
        });
      const at = lab.now.toISOString();
      const image = readFileSync(disk.volume.path);
      for (const [begun, code] of [
        [
          { rotation: { startedAt: at, keyslot: 1, id: "0123456789abcdef", host: "another" } },
          "ROTATION_REFUSED",
        ],
        [{ conversion: { to: "encrypted", startedAt: at } }, "CONVERSION_UNFINISHED"],
      ] as const) {
        await keystore.change(disk.uuid, () => ({ ...record, ...begun }));
        expect(await codeOf(give())).toBe(code);
      }
      expect(readFileSync(disk.volume.path).equals(image)).toBe(true);
      // a host that has died over it
      const rotation = {
        startedAt: "2026-01-01T00:00:00.000Z",
        keyslot: 1,
        id: "0123456789abcdef",
        host: "another",
      };
      await keystore.change(disk.uuid, () => ({ ...record, rotation }));
      expect((await give()).outcome).toBe("added");
    });

    it("copies the decrypted disk out, for root alone, and never over anything", async () => {
      const target = join(lab.workshop.root, "copy.raw");
      using passphrase = (await escrowed()).passphrase;
      const volume = await opened(passphrase);
      const before = sha256(disk.volume.path);

      const size = await copyOut(volume, passphrase, target, lab.workshop.runner);

      expect(statSync(target).mode & 0o777).toBe(0o600);
      expect(BigInt(statSync(target).size)).toBe(size);
      const bytes = readFileSync(target);
      expect(bytes.subarray(MIB, MIB + 65536).equals(Buffer.alloc(65536, 0x77))).toBe(true);
      expect(bytes.subarray(0, MIB).equals(bytes.subarray(MIB, MIB + 65536))).toBe(false);
      expect(sha256(disk.volume.path)).toBe(before);
      const copied = sha256(target);
      expect(await codeOf(copyOut(volume, passphrase, target, lab.workshop.runner))).toBe("OUTPUT_EXISTS");
      expect(sha256(target)).toBe(copied);
      using wrong = Secret.randomPassphrase();
      const other = join(lab.workshop.root, "other.raw");
      expect(await codeOf(copyOut(volume, wrong, other, lab.workshop.runner))).toBe("TOOL_FAILED");
      expect(existsSync(other)).toBe(false);
    });

    it("puts a wiped header back from a copy, and keeps what was there", async () => {
      const header = await lab.header(disk);
      const bytes = readFileSync(disk.volume.path);
      const at = bytes.indexOf(header.subarray(0, 4096));
      bytes.fill(0x00, at, at + 65536);
      writeFileSync(disk.volume.path, bytes);
      using passphrase = (await escrowed()).passphrase;
      const kept: Buffer[] = [];
      const request = {
        ...{ backend: lab.workshop.backend, volume: disk.volume, copy: header, origin: "copy", passphrase },
        keep: (overwritten: Buffer) => {
          kept.push(overwritten);
        },
      };
      using wrong = Secret.randomPassphrase();
      expect(await codeOf(restoreHeader({ ...request, passphrase: wrong }, lab.keyslots))).toBe(
        "PASSPHRASE_REJECTED",
      );
      expect(await codeOf(restoreHeader({ ...request, copy: header.subarray(0, 9000) }, lab.keyslots))).toBe(
        "HEADER_BACKUP_INVALID",
      );
      expect(kept).toEqual([]);
      expect(readFileSync(disk.volume.path).equals(bytes)).toBe(true);

      expect(await restoreHeader(request, lab.keyslots)).toBe("restored");

      expect(kept).toHaveLength(1);
      expect(await lab.opens(disk, passphrase)).toBe(7);
      expect(await restoreHeader(request, lab.keyslots)).toBe("unchanged");
      const other = await lab.disk("other");
      const foreign = { ...request, copy: await lab.header(other) };
      expect(await codeOf(restoreHeader(foreign, lab.keyslots))).toMatch(
        /PASSPHRASE_REJECTED|LUKS_UUID_MISMATCH/,
      );
    });

    it(
      "gives another keystore a passphrase of its own, whenever it was killed before",
      { timeout: 120_000 },
      async () => {
        const image = readFileSync(disk.volume.path);
        const owner = { guest: disk.guest, disk: "vda" };
        for (let at = 1, ended = false; !ended; at++) {
          writeFileSync(disk.volume.path, image);
          const directory = join(lab.workshop.root, `keys-${at}`);
          const keystore = new FileKeystore({ name: "new", type: "file", directory });
          using passphrase = (await escrowed()).passphrase;
          const give = async (killer: Killer) => {
            const volume = {
              ...(await opened(passphrase)),
              backend: killer.wrapBackend(lab.workshop.backend),
            };
            const record = recordOf(volume.header, disk.volume, owner, lab.now);
            return await giveKey(volume, {
              ...{
                passphrase,
                record,
                keyslots: lab.keyslots,
                now: lab.now,
                beforeChange: () => Promise.resolve(),
              },
              keystore: killer.wrap(keystore, ["store", "change"]),
            });
          };
          const killer = new Killer(at);
          await give(killer).catch(() => undefined);
          ended = killer.effects < at;

          const given = await give(new Killer());

          expect(given.record).toMatchObject({ uuid: disk.uuid, state: "active", volume: disk.volume.path });
          const key = (await keystore.fetch(disk.uuid))!;
          using own = key.passphrase;
          expect(key.record.state).toBe("active");
          expect(await lab.opens(disk, own)).toBe(given.keyslot);
          expect(await lab.used(disk)).toEqual([0, given.keyslot, 7].sort());
        }
      },
    );
  },
);

describe("recovery keyslots of a key whose record is lost", { timeout: 240_000 }, () => {
  it("are those that escrow files of this host open", async () => {
    using lab = new RecoveryLab("raw");
    const disk = await lab.disk();
    const [mine, theirs] = [lab.identity("mine"), lab.identity("theirs")];
    for (const { recipient } of [mine, mine, theirs]) {
      const made = await newPassphraseFor([recipient]);
      using passphrase = made.passphrase;
      await new RecoveryKeyslots(lab.ports).add(disk, { ...made, passphrase });
    }
    // of a keyslot that was there before, and of another volume
    const foreign = await newPassphraseFor([mine.recipient]);
    foreign.passphrase.dispose();
    if (foreign.holder.kind !== "recipients") throw new Error("a file was made");
    for (const keyslot of [3, 6])
      writeFileSync(lab.files.path(disk.uuid, keyslot), foreign.holder.file, { mode: 0o600 });
    using identity = readIdentities(mine.path);
    const header = await lab.header(disk);
    const known = { uuid: disk.uuid, header, files: lab.files, keyslots: lab.keyslots, now: lab.now };
    const found = (await escrowedKeyslots({ ...known, identity })).sort((a, b) => b.keyslot - a.keyslot);
    const entry = { kind: "recipients", createdAt: lab.now.toISOString() };
    expect(found).toEqual([
      { ...entry, keyslot: 7, recipients: [mine.recipient] },
      { ...entry, keyslot: 5 },
    ]);
  });
});

describe("a disk that has another key now", () => {
  it("is told which of its recovery keyslots ended with the former one", async () => {
    using lab = new RecoveryLab("raw");
    const [disk, other] = [await lab.disk(), await lab.disk("other")];
    const { keyring } = lab.ports;
    const told = (former: typeof disk.uuid | undefined, current: typeof disk.uuid | undefined) =>
      endedRecovery({ guest: disk.guest, disk: "vda", former, current }, keyring);
    expect(await told(disk.uuid, other.uuid)).toBeUndefined();
    const recovery = [{ keyslot: 7, kind: "passphrase" as const, createdAt: lab.now.toISOString() }];
    await lab.keystore.change(disk.uuid, (record) => ({ ...record, recovery }));
    expect(await told(disk.uuid, other.uuid)).toContain("7 (a printed passphrase)");
    expect(await told(disk.uuid, other.uuid)).toContain(" vda --passphrase");
    expect(await told(disk.uuid, disk.uuid)).toBeUndefined();
    expect(await told(disk.uuid, undefined)).toBeUndefined();
  });
});

describe("what a recovery is given", () => {
  it("is a printed passphrase however it was typed, or any other one without its line end", () => {
    using printed = newPrintedPassphrase();
    const line = printed.use((text) => Buffer.from(`${text.toString().toLowerCase()}\r\n`));
    using typed = typedPassphrase(line).passphrase;
    expect(typed.equals(printed)).toBe(true);
    const other = typedPassphrase(Buffer.from("a machine's\n"));
    using machine = other.passphrase;
    expect(machine.use((bytes) => bytes.toString())).toBe("a machine's");
    expect(other.mistyped).toBeDefined();
  });

  it("is a record of this volume's key, or none", () => {
    const uuid = "0a1b2c3d-0000-4000-8000-000000000001" as KeyRecord["uuid"];
    const header = { uuid } as Parameters<typeof parseKeyRecord>[2];
    expect(() => parseKeyRecord("{}", "file", header)).toThrow("no key record");
    expect(() => parseKeyRecord("no JSON", "file", header)).toThrow("no key record");
  });

  it("tells no format of what begins with neither header", () => {
    const directory = mkdtempSync("/tmp/luksmith-recover-");
    try {
      const path = join(directory, "wiped");
      writeFileSync(path, Buffer.alloc(4096));
      expect(() => volumeArgument(path)).toThrow("image format");
      expect(volumeArgument(path, "raw")).toMatchObject({ format: "raw" });
      expect(() => volumeArgument(`${path}-gone`)).toThrow("cannot read");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

/** The very commands of docs/recovery.md, but for those that need the kernel's device-mapper. */
describe("with nothing but cryptsetup, age and QEMU", () => {
  /** The command of the page that has this word in it. */
  const documented = (word: string): string => {
    const blocks = [...readFileSync("docs/recovery.md", "utf8").matchAll(/^```sh\n(.*?)^```/gms)].map(
      ([, text]) => text!,
    );
    const commands = blocks.flatMap((block) => block.replaceAll("\\\n", " ").split("\n"));
    return commands.find((command) => command.includes(word) && !command.startsWith("#"))!;
  };

  it.each(["raw", "qcow2"] as const)("opens a %s volume", { timeout: 240_000 }, async (format) => {
    using lab = new RecoveryLab(format);
    const disk = await lab.disk();
    const { path } = disk.volume;
    const identity = lab.identity();
    const made = await newPassphraseFor([identity.recipient]);
    using passphrase = made.passphrase;
    await new RecoveryKeyslots(lab.ports).add(disk, made);
    const copy = lab.vault.backups(disk.uuid)[0]!.path;
    const env = { ESCROW: lab.files.path(disk.uuid, 7), VOLUME: path, IDENTITY: identity.path, COPY: copy };
    const shell = (command: string) =>
      execFileSync("sh", ["-ec", command], {
        cwd: lab.workshop.root,
        env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...env },
        encoding: "utf8",
        input: "YES\n",
      });
    if (format === "qcow2") {
      qemuIo(lab.workshop.backend.qemuNode(disk.volume, "key"), ["write -P 0x77 1M 64k"], passphrase);
      shell(documented("qemu-img convert"));
      const recovered = readFileSync(join(lab.workshop.root, "recovered.raw"));
      expect(recovered.subarray(MIB, MIB + 65536).equals(Buffer.alloc(65536, 0x77))).toBe(true);
      return;
    }
    expect(shell(documented("--test-passphrase"))).toContain("Key slot 7 unlocked");
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.fill(0, 0, 65536));
    expect(() => shell(documented("--test-passphrase"))).toThrow();
    shell(documented("luksHeaderRestore"));
    expect(shell(documented("--test-passphrase"))).toContain("Key slot 7 unlocked");
  });

  it("opens with a printed passphrase as it stands on paper", { timeout: 240_000 }, async () => {
    using lab = new RecoveryLab("raw");
    const disk = await lab.disk();
    using printed = newPrintedPassphrase();
    const holder = { kind: "passphrase" } as const;
    await new RecoveryKeyslots(lab.ports).add(disk, { passphrase: printed, holder });
    const path = join(lab.workshop.root, "typed");
    printed.use((text) => {
      writeFileSync(path, text);
    });
    const { path: volume } = disk.volume;
    expect(
      run("cryptsetup", ["open", "--test-passphrase", "--verbose", "--key-file", path, volume]),
    ).toContain("Key slot 7 unlocked");
  });
});
