import { availableParallelism } from "node:os";
import { Secret } from "../../src/secret/secret.js";
import { type Action, interleave } from "./compare.js";
import { shim } from "./hooks.js";
import { runProgram } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { ImageVolume, Stock, StockGuest } from "./stock.js";

const DISKS = 32;
const EFFORT = { rounds: 5, seconds: 20 };
const PROCESSORS = availableParallelism();

/** Whether preparing many new disks at once takes as long as the processors need for them, and no longer. */
export async function benchManyDisks(stock: Stock): Promise<Findings> {
  using passphrase = Secret.randomPassphrase();
  const header = (volume: ImageVolume) => stock.header(volume, passphrase);
  let volumes: readonly ImageVolume[];
  const makeVolumes = (count: number) => () =>
    (volumes = Array.from({ length: count }, () => stock.volume("raw")));
  const actions = {
    "header, 1 raw disk": { before: makeVolumes(1), run: () => Promise.all(volumes.map(header)) },
    "headers, 32 raw disks at once": {
      before: makeVolumes(DISKS),
      run: () => Promise.all(volumes.map(header)),
    },
    "headers, 32 raw disks one after another": {
      before: makeVolumes(DISKS),
      run: async () => {
        for (const volume of volumes) await header(volume);
      },
    },
    "pre-start that formats 1 raw disk": firstStart(stock, 1),
    "pre-start that formats 32 raw disks": firstStart(stock, DISKS),
  } as const satisfies Record<string, Action>;
  const samples = await interleave(actions, EFFORT);

  const side = (name: keyof typeof actions): Side => ({ name, milliseconds: samples[name] });
  const atOnce = side("headers, 32 raw disks at once");
  return {
    rows: [
      row(atOnce, side("header, 1 raw disk"), DISKS / PROCESSORS),
      row(atOnce, side("headers, 32 raw disks one after another"), 1 / PROCESSORS),
      row(
        side("pre-start that formats 32 raw disks"),
        side("pre-start that formats 1 raw disk"),
        DISKS / PROCESSORS,
      ),
    ],
    memory: [],
  };
}

/** The whole hook, from exec to exit. */
function firstStart(stock: Stock, disks: number): Action {
  let guest: StockGuest;
  return {
    before: async () => (guest = await stock.guest("pending", disks)),
    run: () => runProgram(shim(guest, "prepare", "begin")),
    after: () => runProgram(shim(guest, "release", "end")),
  };
}
