import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ProxmoxPlaces } from "../../../src/host/proxmox/places.js";
import { startNamed, withdrawSecrets, writeSecrets } from "../../../src/host/proxmox/secrets.js";
import { isUnderWay, startsIn } from "../../../src/host/proxmox/starts.js";
import { isInMemory } from "../../../src/fs/memory-file-system.js";
import { Secret } from "../../../src/secret/secret.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { goneStart, startOf } from "./proxmox-world.js";

const secretsOf = (...files: string[]) =>
  files.map((file) => ({ file, passphrase: Secret.own(Buffer.from(`passphrase of ${file}`)) }));

function startBelow(directory = temporaryDirectory("/dev/shm"), name = startOf()) {
  return startNamed(new ProxmoxPlaces(directory), "100", name);
}

describe("host secrets of a start", () => {
  it("replace files of their names, and not what a link there leads to", () => {
    const start = startBelow();
    const elsewhere = join(temporaryDirectory(), "elsewhere");
    writeFileSync(elsewhere, "somebody's");
    mkdirSync(start.path, { recursive: true, mode: 0o700 });
    writeFileSync(join(start.path, "scsi0"), "of before, and longer than the new one");
    symlinkSync(elsewhere, join(start.path, "scsi1"));
    writeSecrets(start, secretsOf("scsi0", "scsi1"));
    expect(readFileSync(join(start.path, "scsi0"), "utf8")).toBe("passphrase of scsi0");
    expect(readFileSync(join(start.path, "scsi1"), "utf8")).toBe("passphrase of scsi1");
    withdrawSecrets(start);
    expect(existsSync(start.path)).toBe(false);
    expect(readFileSync(elsewhere, "utf8")).toBe("somebody's");
  });

  it("are all written or none", () => {
    const start = startBelow();
    mkdirSync(join(start.path, "scsi1"), { recursive: true, mode: 0o700 });
    chmodSync(start.path, 0o700);
    expect(() => writeSecrets(start, secretsOf("scsi0", "scsi1"))).toThrow(
      expect.objectContaining({ code: "HOST_SECRET_FAILED" }),
    );
    expect(readdirSync(start.path)).toEqual(["scsi1"]);
  });

  it("are not written to a disk", () => {
    const directory = temporaryDirectory(process.cwd());
    // the test would prove nothing
    expect(isInMemory(directory)).toBe(false);
    expect(() => writeSecrets(startBelow(directory), secretsOf("scsi0"))).toThrow(
      expect.objectContaining({
        code: "HOST_SECRET_FAILED",
        why: expect.stringContaining("tmpfs") as string,
      }),
    );
    expect(readdirSync(startBelow(directory).path)).toEqual([]);
  });

  it("are not written where others come in", () => {
    const start = startBelow();
    mkdirSync(start.path, { recursive: true });
    chmodSync(start.path, 0o755);
    expect(() => writeSecrets(start, secretsOf("scsi0"))).toThrow(
      expect.objectContaining({ code: "HOST_SECRET_FAILED" }),
    );
    expect(readdirSync(start.path)).toEqual([]);
  });

  it("are withdrawn by name too, and once more without complaint", () => {
    const start = startBelow();
    writeSecrets(start, secretsOf("scsi0", "scsi1"));
    withdrawSecrets(start, ["scsi0", "ide0"]);
    expect(readdirSync(start.path)).toEqual(["scsi1"]);
    withdrawSecrets(start);
    withdrawSecrets(start);
    expect(existsSync(start.path)).toBe(false);
  });
});

describe("a start", () => {
  it("is under way as long as the process that it is named after", () => {
    expect(isUnderWay({ name: startOf() })).toBe(true);
    expect(isUnderWay({ name: goneStart() })).toBe(false);
    expect(isUnderWay({ name: "4194304-1-0" })).toBe(false);
  });

  it("is not taken for under way by what another program calls itself", () => {
    const proc = temporaryDirectory();
    mkdirSync(join(proc, "7"));
    const fields = Array.from({ length: 49 }, (_, index) => String(index + 4));
    writeFileSync(join(proc, "7/stat"), `7 (x) S 1 2 3) S ${fields.join(" ")}`);
    expect(isUnderWay({ name: "7-22-0" }, proc)).toBe(true);
    expect(isUnderWay({ name: "7-3-0" }, proc)).toBe(false);
    writeFileSync(join(proc, "7/stat"), `7 (kvm) Z ${fields.join(" ")}`);
    expect(isUnderWay({ name: "7-22-0" }, proc)).toBe(false);
  });

  it("is not what else lies in its guest's directory", () => {
    const places = new ProxmoxPlaces(temporaryDirectory("/dev/shm"));
    for (const name of [goneStart(), "x", "1-1", "0-1-1"])
      mkdirSync(join(places.starts, "100", name), { recursive: true });
    mkdirSync(join(places.starts, "lost+found", goneStart()), { recursive: true });
    expect(startsIn(places).map(({ name }) => name)).toEqual([goneStart()]);
  });
});
