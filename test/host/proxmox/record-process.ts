import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { recordStorage } from "../../../src/host/proxmox/storages-record.js";
import { Steps } from "../../fs/steps.js";

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
  const steps = new Steps(killedBefore);
  steps.countChanges(["openSync", "writeSync", "fsyncSync", "renameSync", "linkSync", "unlinkSync"]);
  const storage = { id, base: { type: "directory" as const, path: `/srv/${id}` } };
  await recordStorage(storage, { storagesRecord: path }, new ExecaCommandRunner());
  return "done";
}

void main(JSON.parse(process.argv[2] ?? "") as RecordOrder).then((ending) => console.log(ending));
