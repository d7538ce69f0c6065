import fs from "node:fs";
import { open } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { asLuksmithError } from "../../../../src/error/luksmith-error.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

/** The one argument of bridge-process.ts, as JSON. */
export interface BridgeOrder {
  /** Of a workshop that is there. */
  readonly root: string;
  readonly op: "create" | "free";
  /** The process kills itself before its n-th step, counted from 1: a command, or a change of a file. */
  readonly killedBefore?: number;
}

/** One operation of the bridge in a process of its own, to be killed. Prints `done` or the error's code. */
async function main({ root, op, killedBefore }: BridgeOrder): Promise<string> {
  const workshop = new BridgeWorkshop(undefined, {}, root);
  let steps = 0;
  const step = () => {
    if (++steps === killedBefore) process.kill(process.pid, "SIGKILL");
  };
  workshop.runner.before = step;
  await countFileChanges(step);
  try {
    await (op === "create" ? workshop.create() : workshop.free());
    return "done";
  } catch (thrown) {
    return asLuksmithError(thrown).code;
  }
}

async function countFileChanges(step: () => void): Promise<void> {
  await using handle = await open("/dev/null");
  const counted = (methods: Record<string, (...args: never[]) => unknown>, names: readonly string[]) => {
    for (const name of names) {
      const original = methods[name];
      methods[name] = function (...args) {
        step();
        return original?.apply(this, args);
      };
    }
  };
  counted(Object.getPrototypeOf(handle) as never, ["write", "sync", "truncate"]);
  counted(fs as never, ["linkSync", "renameSync", "unlinkSync", "fsyncSync"]);
  syncBuiltinESMExports();
}

console.log(await main(JSON.parse(process.argv[2] ?? "") as BridgeOrder));
