import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { ShredWorld } from "./shred-world.js";

/** The one argument of shred-process.ts, as JSON. */
export interface ShredOrder {
  readonly directory: string;
  readonly key: string;
  /** The process kills itself before its n-th change of a file, counted from 1; 0 for never. */
  readonly killedBefore: number;
}

/** Shreds the disk of a world that is there, in a process of its own. Prints how many changes of files there were. */
async function main({ directory, key, killedBefore }: ShredOrder): Promise<number> {
  const uuid = parseKeyUuid(key);
  if (uuid === undefined) throw new Error(`${key} is no UUID`);
  const world = new ShredWorld(directory, "raw", uuid);
  let steps = 0;
  const changes = fs as unknown as Record<string, (...args: never[]) => unknown>;
  for (const name of ["renameSync", "linkSync", "unlinkSync", "rmdirSync"]) {
    const original = changes[name];
    changes[name] = function (...args) {
      if (++steps === killedBefore) process.kill(process.pid, "SIGKILL");
      return original?.apply(this, args);
    };
  }
  syncBuiltinESMExports();
  const changeHeader = world.backend.changeHeader.bind(world.backend);
  world.backend.changeHeader = async (volume, length, change, users) => {
    let end = 0;
    await changeHeader(
      volume,
      length,
      async (header) => {
        const pieces = await change(header);
        if (pieces.length === 0) return pieces;
        // torn in the middle of the header, and killed right behind it
        end = steps + 2;
        if (killedBefore !== steps + 1) return pieces;
        return pieces.map(({ offset, bytes }) => ({ offset, bytes: bytes.subarray(0, 5000) }));
      },
      users,
    );
    if (end === 0) return;
    steps = end;
    if (killedBefore === end - 1 || killedBefore === end) process.kill(process.pid, "SIGKILL");
  };
  await world.shred();
  return steps;
}

console.log(await main(JSON.parse(process.argv[2] ?? "") as ShredOrder));
