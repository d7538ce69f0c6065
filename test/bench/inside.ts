/** The part of the bench that runs where it is measured: `inside.ts SECTION DIR`, findings as JSON on stdout. */
import { mkdirSync } from "node:fs";
import { benchCommands } from "./commands.js";
import { benchPages } from "./pages.js";
import { benchConvert } from "./convert.js";
import { benchDiskIo } from "./disk-io.js";
import { benchDmCrypt } from "./dm-crypt.js";
import { benchEngineHooks } from "./engine-hooks.js";
import { benchHeaderWrites } from "./header-writes.js";
import { benchHooks } from "./hooks.js";
import { benchKeystores } from "./keystores.js";
import { benchManyDisks } from "./many-disks.js";
import { benchNewDisks } from "./new-disks.js";
import type { Findings } from "./row.js";
import type { Machine, SectionOn } from "./section.js";
import { benchRotate } from "./rotate.js";
import { Stock } from "./stock.js";
import { benchTuning } from "./tuning.js";
import { benchUnlocking } from "./unlocking.js";

type InsideSection = SectionOn<Exclude<Machine, "two-hosts" | "node">>;

const BENCHES: Readonly<Record<InsideSection, (stock: Stock) => Promise<Findings>>> = {
  hooks: benchHooks,
  "new-disks": benchNewDisks,
  "many-disks": benchManyDisks,
  "header-writes": benchHeaderWrites,
  unlocking: benchUnlocking,
  commands: benchCommands,
  pages: benchPages,
  "disk-io": benchDiskIo,
  tuning: benchTuning,
  keystores: benchKeystores,
  convert: benchConvert,
  rotate: benchRotate,
  "dm-crypt": benchDmCrypt,
  "engine-hooks": benchEngineHooks,
};

const [section, dir] = process.argv.slice(2) as [InsideSection, string];
using stock = new Stock(dir);
mkdirSync(stock.places.volumes, { recursive: true });
process.stdout.write(JSON.stringify(await BENCHES[section](stock)));
