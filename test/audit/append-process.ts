import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { FileAuditLog } from "../../src/audit/file-audit-log.js";
import { SYSTEM_CLOCK } from "../../src/event/clock.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { use } from "./audit-world.js";

/** The one argument of append-process.ts, as JSON. */
export interface AppendOrder {
  /** Of the log. */
  readonly file: string;
  readonly locks: string;
  readonly times: number;
  /** The process kills itself before its n-th change of a file, counted from 1; 0 for never. */
  readonly killedBefore: number;
}

/** Records uses in a process of its own, to be killed. Prints how many changes of files there were. */
async function main({ file, locks, times, killedBefore }: AppendOrder): Promise<number> {
  let steps = 0;
  const changes = fs as unknown as Record<string, (...args: never[]) => unknown>;
  for (const name of ["symlinkSync", "openSync", "writeSync", "fsyncSync", "ftruncateSync", "unlinkSync"]) {
    const original = changes[name];
    changes[name] = function (...args) {
      if (++steps === killedBefore) process.kill(process.pid, "SIGKILL");
      return original?.apply(this, args);
    };
  }
  syncBuiltinESMExports();
  const logger = new RecordingLogger();
  const [runner, clock] = [new ExecaCommandRunner(), SYSTEM_CLOCK];
  const options = { file, locks, runner, clock, logger: () => logger, journal: () => undefined };
  const log = new FileAuditLog({ ...options, required: true });
  for (let i = 0; i < times; i++) await log.record(use("vda"), use("vdb"));
  return steps;
}

console.log(await main(JSON.parse(process.argv[2] ?? "") as AppendOrder));
