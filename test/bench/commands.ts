import { interleave } from "./compare.js";
import { NODE, processorTimeOf, type Program, type ProgramAction, programAction } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { Stock, StockGuest } from "./stock.js";

/** The command line, from exec to exit. */
export async function benchCommands(stock: Stock): Promise<Findings> {
  const luksmith = (...args: readonly string[]): Program => ({
    argv: [process.execPath, stock.places.luksmith, ...args],
  });
  for (let count = 0; count < 50; count++) await stock.guest("active", 1);

  let guest: StockGuest;
  const actions = {
    "node -e 0": programAction(NODE),
    "luksmith version": programAction(luksmith("version")),
    "luksmith status, 50 guests": programAction(luksmith("status")),
    "luksmith protect, 16 new disks": programAction(() => luksmith("protect", guest.name), {
      before: async () => (guest = await stock.guest("plain", 16)),
      after: () => stock.undefine(guest),
    }),
  } as const satisfies Record<string, ProgramAction>;
  const wall = await interleave(actions, { rounds: 5, seconds: 15 });
  const processor = await interleave(actions, { rounds: 3, seconds: 10 }, processorTimeOf);

  const side = (name: keyof typeof actions): Side => ({
    name,
    milliseconds: wall[name],
    processorMilliseconds: processor[name],
  });
  const ofNode = (name: keyof typeof actions) => row(side(name), side("node -e 0"));
  return {
    rows: [
      ofNode("luksmith version"),
      ofNode("luksmith status, 50 guests"),
      ofNode("luksmith protect, 16 new disks"),
    ],
    memory: [],
  };
}
