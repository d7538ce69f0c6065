import { execa } from "execa";
import type { LibvirtHost } from "./libvirt-host.js";

export type Networked = Pick<LibvirtHost, "network">;

/** A cable between two hosts, which ends with either of them. */
export interface Network {
  /** Nothing gets through any more, and nobody is told: what was sent is sent again until it is mended. */
  cut(): Promise<void>;
  /** Idempotent, as `cut` is. */
  mend(): Promise<void>;
}

/** Of each host; reserved for tests of networks by RFC 2544, and only these two hosts are on theirs. */
export const ADDRESSES = ["198.18.0.1", "198.18.0.2"] as const;
/** What the cable's end is called in each host. */
const CABLE = "cable";

/** Gives the hosts their addresses, in the order of `ADDRESSES`. Needs iproute2. */
export async function connect(a: Networked, b: Networked): Promise<Network> {
  const peer = ["peer", "name", CABLE, "netns", b.network];
  await ip("link", "add", CABLE, "netns", a.network, "type", "veth", ...peer);
  for (const [index, { network }] of [a, b].entries()) {
    await inside(network, "address", "add", `${ADDRESSES[index]!}/30`, "dev", CABLE);
    await inside(network, "link", "set", CABLE, "up");
  }
  const set = (state: "up" | "down") => inside(b.network, "link", "set", CABLE, state);
  const mend = async () => {
    await set("up");
    // else a host goes on for seconds to believe that the other one is not there
    for (const { network } of [a, b]) await inside(network, "neighbour", "flush", "dev", CABLE);
  };
  return { cut: () => set("down"), mend };
}

function inside(network: string, ...args: readonly string[]): Promise<void> {
  return run("nsenter", [`--net=${network}`, "--", "ip", ...args]);
}

function ip(...args: readonly string[]): Promise<void> {
  return run("ip", args);
}

async function run(program: string, args: readonly string[]): Promise<void> {
  await execa(program, args);
}
