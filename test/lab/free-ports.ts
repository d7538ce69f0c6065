import { randomInt } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { promisify } from "node:util";

const HOST = "127.0.0.1";

/**
 * So many TCP ports of loopback that are free now; a server that finds one taken after all fails the start. The kernel
 * gives none of them to outgoing connections, which could have it while a server is started again.
 */
export async function freePorts(count: number): Promise<number[]> {
  const end = firstOutgoingPort();
  const free = new Set<number>();
  while (free.size < count) {
    const port = randomInt(Math.min(10_000, end >> 1), end);
    if (!free.has(port) && (await isFree(port))) free.add(port);
  }
  return [...free];
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

function firstOutgoingPort(): number {
  const [first] = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").split("\t");
  return Number(first);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, HOST), "listening");
  } catch {
    return false;
  }
  await promisify(server.close.bind(server))();
  return true;
}
