import { readFileSync } from "node:fs";
import { ifThere } from "../fs/if-there.js";

/** Names of this host's own users by their number; others (of a directory service) are known by their number only. */
export function userNames(passwd = "/etc/passwd"): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const line of ifThere(() => readFileSync(passwd, "utf8"))?.split("\n") ?? []) {
    const [name = "", , uid = ""] = line.split(":");
    // the first one that has a number is the one that the C library gives
    if (name !== "" && /^[0-9]+$/.test(uid) && !names.has(Number(uid))) names.set(Number(uid), name);
  }
  return names;
}
