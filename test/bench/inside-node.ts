/** `inside-node.ts`, in the namespace of node-namespace.sh: findings of the section proxmox as JSON on stdout. */
import { mkdirSync } from "node:fs";
import { benchExports } from "./exports.js";
import { benchNodeHooks } from "./node-hooks.js";
import { BenchNode } from "./node.js";
import { benchPluginCalls } from "./plugin-calls.js";
import type { Row } from "./row.js";
import { Stock } from "./stock.js";

const node = new BenchNode();
using stock = new Stock("/run/stock");
mkdirSync(stock.places.volumes, { recursive: true });
const rows: Row[] = [
  ...benchPluginCalls(node),
  ...(await benchNodeHooks(node)),
  ...(await benchExports(stock)),
];
process.stdout.write(JSON.stringify({ rows, memory: [] }));
