import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";
import type { ProxmoxPlaces } from "./places.js";
import { isUnderWay, startsIn } from "./starts.js";

/**
 * Whether a guest runs on this host, or is being started: it counts from the moment when the process that starts it has
 * made its directory for host secrets.
 */
export function isRunning(vmid: string, places: ProxmoxPlaces): boolean {
  return hasProcess(vmid, places) || startsIn(places, vmid).some((start) => isUnderWay(start));
}

/** Whether its QEMU is there, by its pid file; the pid may be another program's by now. */
export function hasProcess(vmid: string, { running }: Pick<ProxmoxPlaces, "running">): boolean {
  const text = ifThere(() => readFileSync(join(running, `${vmid}.pid`), "utf8"))?.trim();
  if (text === undefined || !/^[1-9][0-9]{0,9}$/.test(text)) return false;
  const words = (ifThere(() => readFileSync(join("/proc", text, "cmdline"), "utf8")) ?? "").split("\0");
  return words.some(
    (word, index) => (word === "-id" && words[index + 1] === vmid) || word.endsWith(`/${vmid}.pid`),
  );
}
