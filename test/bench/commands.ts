import { type Action, interleave } from "./compare.js";
import { NODE, type Program, programAction, runProgram } from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import type { Stock, StockGuest } from "./stock.js";

const ROUNDS = 5;
const GUESTS = 50;
const DISKS = 16;

/** The command line, from exec to exit. */
export async function benchCommands(stock: Stock): Promise<Findings> {
  const luksmith = (...args: readonly string[]): Program => ({
    argv: [process.execPath, stock.places.luksmith, ...args],
  });
  for (let count = 0; count < GUESTS; count++) await stock.guest("active", 1);

  let guest: StockGuest;
  const actions = {
    "node -e 0": programAction(NODE),
    "luksmith version": programAction(luksmith("version")),
    [`luksmith status, ${GUESTS} guests`]: programAction(luksmith("status")),
    [`luksmith protect, ${DISKS} disks`]: {
      before: async () => (guest = await stock.guest("plain", DISKS)),
      run: () => runProgram(luksmith("protect", guest.name)),
      after: () => stock.undefine(guest),
    },
  } satisfies Record<string, Action>;
  const samples = await interleave(actions, ROUNDS);

  const [node, ...sides] = Object.entries(samples).map(([name, milliseconds]): Side => ({
    name,
    milliseconds,
  }));
  return { rows: sides.flatMap((side) => (node === undefined ? [] : row(side, node))), memory: [] };
}
