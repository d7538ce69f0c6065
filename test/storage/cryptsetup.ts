import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Secret } from "../../src/secret/secret.js";

const MIB = 1024 * 1024;

/** The sizes and names that `cryptsetup luksDump --dump-json-metadata` prints of a LUKS2 container. */
export interface Luks2Dump {
  readonly keyslots: Readonly<Record<string, { key_size: number; area: { offset: string } }>>;
  readonly segments: Readonly<Record<string, { offset: string; encryption: string; sector_size: number }>>;
  readonly digests: Readonly<Record<string, { hash: string }>>;
  readonly config: { readonly json_size: string; readonly keyslots_size: string };
}

/** Whether cryptsetup itself opens a container with these bytes. */
export function cryptsetupOpens(container: Buffer, passphrase: Secret): boolean {
  return withFiles(container, (path, key) => {
    passphrase.use((bytes) => writeFileSync(key, bytes));
    const args = ["open", "--test-passphrase", "--key-file", key, path];
    return spawnSync("cryptsetup", args, { stdio: "ignore" }).status === 0;
  });
}

/** Whether cryptsetup takes these bytes for a container that it could open. */
export function cryptsetupReads(container: Buffer): boolean {
  return withFiles(container, (path) => spawnSync("cryptsetup", ["luksDump", path]).status === 0);
}

export function luks2Dump(container: Buffer): Luks2Dump {
  return withFiles(container, (path) => {
    const dump = execFileSync("cryptsetup", ["luksDump", "--dump-json-metadata", path], { encoding: "utf8" });
    return JSON.parse(dump) as Luks2Dump;
  });
}

function withFiles<T>(container: Buffer, work: (path: string, key: string) => T): T {
  const directory = mkdtempSync("/dev/shm/luksmith-test-");
  try {
    const path = join(directory, "container");
    writeFileSync(path, container);
    // cryptsetup wants room for all keyslots and a payload
    truncateSync(path, Math.max(container.length, 4 * MIB));
    return work(path, join(directory, "passphrase"));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
