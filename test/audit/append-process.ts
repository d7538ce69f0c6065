import { FileAuditLog } from "../../src/audit/file-audit-log.js";
import { SYSTEM_CLOCK } from "../../src/event/clock.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { Steps } from "../fs/steps.js";
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
  const steps = new Steps(killedBefore);
  steps.countChanges(["symlinkSync", "openSync", "writeSync", "fsyncSync", "ftruncateSync", "unlinkSync"]);
  const logger = new RecordingLogger();
  const [runner, clock] = [new ExecaCommandRunner(), SYSTEM_CLOCK];
  const options = { file, locks, runner, clock, logger: () => logger, journal: () => undefined };
  const log = new FileAuditLog({ ...options, required: true });
  for (let i = 0; i < times; i++) await log.record(use("vda"), use("vdb"));
  return steps.taken;
}

void main(JSON.parse(process.argv[2] ?? "") as AppendOrder).then((steps) => console.log(steps));
