import { parseKeyUuid } from "../../src/keystore/key-uuid.js";
import { Steps } from "../fs/steps.js";
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
  const steps = new Steps(killedBefore);
  steps.countChanges(["renameSync", "linkSync", "unlinkSync", "rmdirSync"]);
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
        end = steps.taken + 2;
        if (killedBefore !== steps.taken + 1) return pieces;
        return pieces.map(({ offset, bytes }) => ({ offset, bytes: bytes.subarray(0, 5000) }));
      },
      users,
    );
    if (end === 0) return;
    steps.taken = end;
    if (killedBefore === end - 1 || killedBefore === end) steps.die();
  };
  await world.shred();
  return steps.taken;
}

void main(JSON.parse(process.argv[2] ?? "") as ShredOrder).then((steps) => console.log(steps));
