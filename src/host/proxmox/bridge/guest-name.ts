import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../../fs/if-there.js";
import type { ProxmoxPlaces } from "../places.js";

/** The name of a guest of any node for key records; its VMID where its configuration is not there yet, or has none. */
export function guestName({ nodes }: Pick<ProxmoxPlaces, "nodes">, vmid: string): string {
  for (const node of ifThere(() => readdirSync(nodes)) ?? []) {
    const text = ifThere(() => readFileSync(join(nodes, node, "qemu-server", `${vmid}.conf`), "utf8"));
    // sections follow of snapshots, which had names of their own
    const [current = ""] = text?.split(/^\[/m, 1) ?? [];
    const name = /^name:[ \t]*(\S+)[ \t]*$/m.exec(current)?.[1];
    if (name !== undefined) return name;
  }
  return vmid;
}
