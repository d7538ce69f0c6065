import { join } from "node:path";
import { interleave } from "./compare.js";
import { peakMemory } from "./memory.js";
import { SHIM } from "./plugin.js";
import {
  NODE,
  processorTimeOf,
  type Program,
  type ProgramAction,
  programAction,
  runProgram,
} from "./program.js";
import { type Findings, row, type Side } from "./row.js";
import { type Stock, type StockGuest, virsh } from "./stock.js";

const TARGET = { one: 4, sixteen: 6 };

/** Hooks as processes, from exec to exit, their secrets provided to a real libvirtd. */
export async function benchHooks(stock: Stock): Promise<Findings> {
  const one = await stock.guest("active", 1);
  const sixteen = await stock.guest("active", 16);
  const untouched = await stock.guest("plain", 1);
  provesToWork(one, 1);
  provesToWork(sixteen, 16);

  const preStart = join(stock.places.hooks, "pre-start.js");
  const actions = {
    "node -e 0": programAction(NODE),
    "pre-start, 1 disk": programAction(shim(one, "prepare", "begin")),
    "post-stop, 1 disk": programAction(shim(one, "release", "end")),
    "pre-migrate, 1 disk": programAction(shim(one, "migrate", "begin"), withdrawing(one)),
    "pre-start without the shim, 1 disk": programAction(direct(preStart, one), withdrawing(one)),
    "pre-start, 16 disks": programAction(shim(sixteen, "prepare", "begin")),
    "post-stop, 16 disks": programAction(shim(sixteen, "release", "end")),
    "pre-start without the shim, 16 disks": programAction(direct(preStart, sixteen), withdrawing(sixteen)),
    "pre-start, guest that nobody asked to encrypt": programAction(shim(untouched, "prepare", "begin")),
    "post-stop, guest that nobody asked to encrypt": programAction(shim(untouched, "release", "end")),
    "sh -c true": programAction({ argv: ["/bin/sh", "-c", "true"] }),
    "shim, operation that is not handled": programAction(shim(one, "started", "begin")),
  } as const satisfies Record<string, ProgramAction>;
  const wall = await interleave(actions, { rounds: 11, seconds: 30 });
  const processor = await interleave(actions, { rounds: 5, seconds: 10 }, processorTimeOf);

  type Name = keyof typeof actions;
  const side = (name: Name): Side => ({
    name,
    milliseconds: wall[name],
    processorMilliseconds: processor[name],
  });
  const ofNode = (name: Name, target?: number) => row(side(name), side("node -e 0"), target);
  return {
    rows: [
      ofNode("pre-start, 1 disk", TARGET.one),
      ofNode("pre-start without the shim, 1 disk", TARGET.one),
      ofNode("pre-start, 16 disks", TARGET.sixteen),
      ofNode("pre-start without the shim, 16 disks", TARGET.sixteen),
      ofNode("pre-start, guest that nobody asked to encrypt"),
      ofNode("pre-migrate, 1 disk"),
      ofNode("post-stop, 1 disk"),
      ofNode("post-stop, 16 disks"),
      ofNode("post-stop, guest that nobody asked to encrypt"),
      row(side("shim, operation that is not handled"), side("sh -c true")),
    ],
    memory: [
      ...(await peakMemory("node -e 0", NODE)),
      ...(await peakMemory("pre-start, 1 disk", shim(one, "prepare", "begin"))),
      ...(await peakMemory("post-stop, 1 disk", shim(one, "release", "end"))),
      ...(await peakMemory("pre-start, 16 disks", shim(sixteen, "prepare", "begin"))),
      ...(await peakMemory("post-stop, 16 disks", shim(sixteen, "release", "end"))),
    ],
  };
}

/** As libvirt starts it. */
export function shim({ name, xml }: StockGuest, operation: string, subOperation: string): Program {
  return { argv: [SHIM, name, operation, subOperation, "-"], input: xml };
}

function direct(hook: string, { name, xml }: StockGuest): Program {
  return { argv: [process.execPath, hook, "libvirt", name, "prepare", "begin", "-"], input: xml };
}

function withdrawing(guest: StockGuest): Pick<ProgramAction, "after"> {
  return { after: () => runProgram(shim(guest, "release", "end")) };
}

/** Also warms up the page cache. @throws unless the hooks do what is timed */
function provesToWork(guest: StockGuest, disks: number): void {
  runProgram(shim(guest, "prepare", "begin"));
  if (secrets() !== disks)
    throw new Error(`pre-start provided ${secrets()} host secrets instead of ${disks}`);
  runProgram(shim(guest, "release", "end"));
  if (secrets() !== 0) throw new Error("post-stop left host secrets");
}

function secrets(): number {
  return virsh("secret-list")
    .split("\n")
    .filter((line) => line.trim() !== "").length;
}
