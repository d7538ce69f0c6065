import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { FileAuditLog } from "../../src/audit/file-audit-log.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { Secret } from "../../src/secret/secret.js";
import { secretFile } from "../../src/secret/secret-file.js";
import { type Action, interleave } from "./compare.js";
import { peakMemory } from "./memory.js";
import { type Program, runProgram } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { Stock } from "./stock.js";

const DISKS = 32;
/** What one processor has to do of them, one after the other. */
const TURNS = Math.ceil(DISKS / availableParallelism());
const EFFORT = { rounds: 5, seconds: 40 };
const APPENDS = 50;

/** What new passphrases cost, against one that a person's tool makes; and what recording a use of a key does. */
export async function benchRotate(stock: Stock): Promise<Findings> {
  const one = await stock.guest("active", 1);
  const many = await stock.guest("active", DISKS);
  const command = (name: string): Program => ({
    argv: [process.execPath, stock.places.luksmith, "rotate", name],
  });
  const rotation = (name: string): Action => ({ run: () => runProgram(command(name)) });
  const volume = stock.volume("raw");
  using passphrase = Secret.randomPassphrase();
  await stock.header(volume, passphrase);
  const line = Buffer.from(`${JSON.stringify({ event: "provide", text: "x".repeat(400) })}\n`);
  const plainFile = openSync(join(stock.places.volumes, "lines"), "a");
  const log = new FileAuditLog({
    ...{ file: join(stock.places.volumes, "audit.log"), required: true, runner: new ExecaCommandRunner() },
    ...{ clock: { now: () => new Date() }, logger: () => ({ warn: () => undefined }) },
    ...{ locks: stock.places.volumes, journal: () => undefined },
  });
  const guest = { id: "11111111-2222-4333-8444-555555555555", name: "web1" };
  const use = { event: "provide", guest, disk: "vda", key: newKeyUuid(), result: "done" } as const;
  const actions = {
    "rotate, 1 disk": rotation(one.name),
    "rotate, 32 disks": rotation(many.name),
    "cryptsetup luksChangeKey, 1 disk, its own defaults": {
      run: () => {
        using key = secretFile(passphrase);
        using same = secretFile(passphrase);
        const files = ["--key-file", "/proc/self/fd/3", volume.path, "/proc/self/fd/4"];
        const argv = ["/usr/sbin/cryptsetup", "luksChangeKey", "--batch-mode", ...files] as const;
        return runProgram({ argv, fds: [key.fd, same.fd] });
      },
    },
    "50 entries of the audit log, one by one": {
      run: async () => {
        for (let count = 0; count < APPENDS; count++) await log.record(use);
      },
    },
    "32 entries of the audit log at once": {
      run: () => log.record(...Array.from({ length: DISKS }, () => use)),
    },
    "50 lines, each with its fsync": {
      run: () => {
        for (let count = 0; count < APPENDS; count++) {
          writeSync(plainFile, line);
          fsyncSync(plainFile);
        }
      },
    },
  } as const satisfies Record<string, Action>;
  const samples = await interleave(actions, EFFORT);
  closeSync(plainFile);

  const side = (name: keyof typeof actions): Side => ({ name, milliseconds: samples[name] });
  const all = side("rotate, 32 disks");
  const derivation = side("cryptsetup luksChangeKey, 1 disk, its own defaults");
  const lines = side("50 lines, each with its fsync");
  return {
    rows: [
      row(side("rotate, 1 disk"), derivation, 1),
      row(all, derivation, TURNS),
      row(all, side("rotate, 1 disk"), TURNS),
      row(side("50 entries of the audit log, one by one"), lines),
      row(side("32 entries of the audit log at once"), lines),
    ],
    memory: [
      ...(await peakMemory("rotate, 1 disk", command(one.name))),
      ...(await peakMemory("rotate, 32 disks", command(many.name))),
    ],
  };
}
