import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import {
  closeSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { Keyslots } from "../../src/encryption/keyslots.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { FileHeaderVault } from "../../src/headers/file-header-vault.js";
import type { HeaderBackup } from "../../src/headers/header-vault.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { VolumeLocks } from "../../src/storage/volume-lock.js";
import { newHeader, withPieces } from "../encryption/header-bytes.js";
import { temporaryDirectory, treeOf } from "../fs/tree.js";
import { codeOf, makeBackend, MIB, SPEC } from "../storage/workshop.js";

const runner = new ExecaCommandRunner();
const uuid = newKeyUuid();
let passphrase: Secret;
/** The same volume's header, as it becomes with each keyslot. */
let headers: readonly [Buffer, Buffer, Buffer];

beforeAll(async () => {
  passphrase = Secret.randomPassphrase();
  const first = await newHeader(runner, { uuid, spec: SPEC, passphrase });
  const next = async (header: Buffer) => {
    using added = Secret.randomPassphrase();
    const change = await new Keyslots(runner).add(header, { passphrase, added, strength: "machine" });
    return withPieces(header, change.pieces);
  };
  const second = await next(first);
  headers = [first, second, await next(second)];
});

describe("the header vault", () => {
  let root: string;
  let directory: string;
  let time: number;
  let vault: FileHeaderVault;

  beforeEach(() => {
    root = temporaryDirectory();
    directory = join(root, "headers");
    time = Date.UTC(2026, 4, 6, 7, 8, 9, 10);
    vault = at(directory);
  });

  function at(place: string, keep = 3): FileHeaderVault {
    const locks = new VolumeLocks(runner, join(root, "lock"), 5);
    return new FileHeaderVault({ directory: place, keep }, locks, { now: () => new Date((time += 1000)) });
  }

  const keep = (header: Buffer, by = vault) =>
    by.keep({ uuid, volume: "/srv/disk.img", header, reason: "asked" });
  const ofKey = () => join(directory, uuid);

  it("keeps a copy that only root can read, with what is known of it", async () => {
    const backup = await keep(headers[0]);
    expect(backup).toMatchObject({ uuid, reason: "asked", volume: "/srv/disk.img", length: 2 * MIB });
    expect(backup.path).toBe(join(ofKey(), "20260506T070810010Z.luks"));
    expect(vault.backups(uuid)).toEqual([backup]);
    expect(vault.read(backup).equals(headers[0])).toBe(true);
    const modes = Object.values(treeOf(root)).map((entry) => entry.split(" ")[0]);
    expect(lstatSync(directory).mode & 0o777).toBe(0o700);
    expect(lstatSync(ofKey()).mode & 0o777).toBe(0o700);
    expect(modes.filter((mode) => mode === "600")).toHaveLength(3);
  });

  it("holds no second copy of the same header, and the newest first", async () => {
    const first = await keep(headers[0]);
    expect(await keep(headers[0])).toEqual(first);
    const second = await keep(headers[1]);
    expect(vault.backups(uuid)).toEqual([second, first]);
    const third = await keep(headers[0]);
    expect(vault.backups(uuid)).toEqual([third, second, first]);
  });

  it("keeps so many copies, and none of the files of older ones", async () => {
    vault = at(directory, 2);
    for (const header of headers) await keep(header);
    expect(vault.backups(uuid)).toHaveLength(2);
    expect(vault.read(vault.backups(uuid)[0] as HeaderBackup).equals(headers[2])).toBe(true);
    expect(readdirSync(ofKey())).toHaveLength(4);
  });

  it("orders copies rightly when the clock was set back", async () => {
    const first = await keep(headers[0]);
    time -= 3_600_000;
    const second = await keep(headers[1]);
    expect(vault.backups(uuid)).toEqual([second, first]);
    expect(second.takenAt.getTime()).toBeGreaterThan(first.takenAt.getTime());
  });

  it("keeps one copy when several processes bring the same at once", async () => {
    await Promise.all([vault, at(directory), at(directory)].map((each) => keep(headers[0], each)));
    expect(vault.backups(uuid)).toHaveLength(1);
  });

  it("refuses what is no header of the key, and keeps nothing", async () => {
    const other = { uuid: newKeyUuid(), volume: "v", reason: "asked" } as const;
    expect(await codeOf(vault.keep({ ...other, header: headers[0] }))).toBe("LUKS_HEADER_INVALID");
    for (const header of [Buffer.alloc(2 * MIB), headers[0].subarray(0, MIB), Buffer.alloc(0)])
      expect(await codeOf(keep(header))).toBe("LUKS_HEADER_INVALID");
    expect(existsSync(directory)).toBe(false);
  });

  it("has copies that cryptsetup restores a volume's header from", async () => {
    const backend = makeBackend("raw", runner, join(root, "lock"));
    const volume = { kind: "file", path: join(root, "disk.img"), format: "raw" } as const;
    for (const format of ["luks", "luksv2"] as const) {
      const key = newKeyUuid();
      rmSync(volume.path, { force: true });
      writeFileSync(volume.path, "");
      truncateSync(volume.path, 8 * MIB);
      await backend.createEncrypted({ volume, uuid: key, spec: { ...SPEC, format }, passphrase });
      const header = await backend.readHeader(volume);
      const backup = await vault.keep({ uuid: key, volume: volume.path, header, reason: "made" });
      await backend.changeHeader(volume, header.length, () =>
        Promise.resolve([{ offset: 0, bytes: Buffer.alloc(header.length) }]),
      );
      expect(await codeOf(backend.testPassphrase(volume, passphrase))).toBe("VOLUME_NOT_FORMATTED");
      execFileSync("cryptsetup", [
        "luksHeaderRestore",
        "-q",
        volume.path,
        "--header-backup-file",
        backup.path,
      ]);
      await backend.testPassphrase(volume, passphrase);
    }
  });

  it("finds out that a copy is not what was written", async () => {
    const backup = await keep(headers[0]);
    const bytes = readFileSync(backup.path);
    bytes[5000] = (bytes[5000] ?? 0) ^ 1;
    writeFileSync(backup.path, bytes);
    expect(() => vault.read(backup)).toThrow(
      expect.objectContaining({ code: "HEADER_BACKUP_INVALID" }) as Error,
    );
    // the same header is not taken for kept
    const again = await keep(headers[0]);
    expect(vault.read(again).equals(headers[0])).toBe(true);
    rmSync(backup.path);
    expect(() => vault.read(backup)).toThrow(
      expect.objectContaining({ code: "HEADER_BACKUP_MISSING" }) as Error,
    );
  });

  it.each<[string, (path: string) => void]>([
    ["a description that is no JSON", (path) => writeFileSync(path.replace(".luks", ".json"), "{")],
    ["a description of another key", (path) => edit(path, (text) => text.replace(uuid, newKeyUuid()))],
    ["a description of another time", (path) => edit(path, (text) => text.replace("2026-", "2025-"))],
    [
      "a description with more in it",
      (path) => edit(path, (text) => text.replace("{", '{"path":"/etc/shadow",')),
    ],
    ["a copy that is cut off", (path) => truncateSync(path, 4096)],
    ["a copy that is gone", (path) => rmSync(path)],
    ["a copy that others may read", (path) => chmodSync(path, 0o644)],
    ["a symbolic link", linked],
    ["a directory in its place", (path) => instead(path, "mkdir")],
    ["a pipe in its place", (path) => instead(path, "mkfifo")],
  ])("leaves out %s, and shows the others", async (_, damage) => {
    const good = await keep(headers[0]);
    const bad = await keep(headers[1]);
    damage(bad.path);
    expect(vault.backups(uuid)).toEqual([good]);
  });

  it("does not follow a link that stands in place of a key's directory", async () => {
    const elsewhere = join(root, "elsewhere");
    for (const path of [elsewhere, directory]) mkdirSync(path, { mode: 0o700 });
    symlinkSync(elsewhere, ofKey());
    expect(await codeOf(keep(headers[0]))).toBe("HEADER_BACKUP_FAILED");
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it("refuses a directory that others can read", async () => {
    mkdirSync(directory, { mode: 0o755 });
    chmodSync(directory, 0o755);
    expect(await codeOf(keep(headers[0]))).toBe("HEADER_BACKUP_FAILED");
    expect(vault.backups(uuid)).toEqual([]);
  });

  it("says so where no directory can be made", async () => {
    for (const place of ["/proc/luksmith/headers", "/dev/null/headers"])
      expect(await codeOf(keep(headers[0], at(place)))).toBe("HEADER_BACKUP_FAILED");
  });

  it("keeps nothing by halves on a full disk, and what there was", async () => {
    const mount = join(root, "small");
    mkdirSync(mount);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", mount]);
    onTestFinished(() => void execFileSync("umount", [mount]));
    vault = at(join(mount, "headers"));
    const first = await keep(headers[0]);
    const before = treeOf(mount);
    expect(await codeOf(keep(headers[1]))).toBe("HEADER_BACKUP_FAILED");
    expect(treeOf(mount)).toEqual(before);
    expect(vault.read(first).equals(headers[0])).toBe(true);
  });

  it("does not count bytes that a kill left without their description, and removes them", async () => {
    await keep(headers[0]);
    const orphan = join(ofKey(), "20200101T000000000Z.luks");
    writeFileSync(orphan, headers[1], { mode: 0o600 });
    expect(vault.backups(uuid)).toHaveLength(1);
    await keep(headers[2]);
    expect(existsSync(orphan)).toBe(false);
  });

  it("sets aside what is no header, as often as copies are kept", async () => {
    vault = at(directory, 2);
    const paths = [];
    for (const byte of [1, 2, 3]) paths.push(await vault.setAside(uuid, Buffer.alloc(512, byte)));
    expect(paths.map((path) => existsSync(path))).toEqual([false, true, true]);
    expect(readFileSync(paths[2] ?? "").equals(Buffer.alloc(512, 3))).toBe(true);
    expect(vault.backups(uuid)).toEqual([]);
  });

  it("overwrites what it destroys, one copy or all of a key", async () => {
    const [first, second] = [await keep(headers[0]), await keep(headers[1])];
    await vault.setAside(uuid, headers[0]);
    const other = newKeyUuid();
    const kept = await newHeader(runner, { uuid: other, spec: SPEC, passphrase });
    await vault.keep({ uuid: other, volume: "other", header: kept, reason: "made" });

    // a file that is open shows what is on the disk when its name is gone
    const fd = openSync(first.path, "r");
    await vault.destroy(uuid, [first]);
    const left = Buffer.alloc(4096);
    readSync(fd, left, 0, 4096, 0);
    closeSync(fd);
    expect(left.equals(headers[0].subarray(0, 4096))).toBe(false);
    expect(vault.backups(uuid)).toEqual([second]);

    await vault.destroy(uuid);
    await vault.destroy(uuid);
    expect(readdirSync(directory)).toEqual([other]);
    expect(vault.backups(other)).toHaveLength(1);
  });

  it("overwrites no file that has another name too", async () => {
    const { path } = await keep(headers[0]);
    linkSync(path, join(root, "precious"));
    await vault.destroy(uuid);
    expect(readFileSync(join(root, "precious")).equals(headers[0])).toBe(true);
    expect(existsSync(ofKey())).toBe(false);
  });
});

/** Changes the description of a copy. */
function edit(path: string, change: (text: string) => string): void {
  const description = path.replace(".luks", ".json");
  writeFileSync(description, change(readFileSync(description, "utf8")));
}

function linked(path: string): void {
  renameSync(path, `${path}.x`);
  symlinkSync(`${path}.x`, path);
}

function instead(path: string, make: "mkdir" | "mkfifo"): void {
  rmSync(path);
  execFileSync(make, [path]);
}
