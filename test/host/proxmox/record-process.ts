import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { recordStorage } from "../../../src/host/proxmox/storages-record.js";

/** The one argument of record-process.ts, as JSON. */
export interface RecordOrder {
  /** Of the record. */
  readonly path: string;
  readonly id: string;
  /** The process kills itself before its n-th change of a file, counted from 1. */
  readonly killedBefore: number;
}

/** Records one storage in a process of its own, to be killed. Prints `done`. */
async function main({ path, id, killedBefore }: RecordOrder): Promise<string> {
  let steps = 0;
  const changes = fs as unknown as Record<string, (...args: never[]) => unknown>;
  for (const name of ["openSync", "writeSync", "fsyncSync", "renameSync", "linkSync", "unlinkSync"]) {
    const original = changes[name];
    changes[name] = function (...args) {
      if (++steps === killedBefore) process.kill(process.pid, "SIGKILL");
      return original?.apply(this, args);
    };
  }
  syncBuiltinESMExports();
  const storage = { id, base: { type: "directory" as const, path: `/srv/${id}` } };
  await recordStorage(storage, { storagesRecord: path }, new ExecaCommandRunner());
  return "done";
}

console.log(await main(JSON.parse(process.argv[2] ?? "") as RecordOrder));
