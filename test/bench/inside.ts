/** The part of the bench that runs on the private host: `inside.ts SECTION DIR`, findings as JSON on stdout. */
import { benchCommands } from "./commands.js";
import { benchHooks } from "./hooks.js";
import type { Section } from "./measure.js";
import { benchNewDisks } from "./new-disks.js";
import type { Findings } from "./row.js";
import { Stock } from "./stock.js";
import { benchUnlocking } from "./unlocking.js";

const BENCHES: Readonly<Record<Section, (stock: Stock) => Promise<Findings>>> = {
  hooks: benchHooks,
  "new disks": benchNewDisks,
  unlocking: benchUnlocking,
  commands: benchCommands,
};

const [section, dir] = process.argv.slice(2) as [Section, string];
using stock = new Stock(dir);
process.stdout.write(JSON.stringify(await BENCHES[section](stock)));
