import { readFileSync } from "node:fs";
import { ifThere } from "../fs/if-there.js";
import { liesOnDmCrypt } from "./block-stack.js";
import type { DataPlace } from "./data-place.js";

/** Where this host swaps memory to, that of guests and keystores among it. @param table for tests */
export function swapPlaces(table = "/proc/swaps"): DataPlace[] {
  const lines = (ifThere(() => readFileSync(table, "utf8")) ?? "").split("\n").slice(1);
  return lines.flatMap((line): DataPlace[] => {
    const [escaped = ""] = line.split(/\s/);
    const where = unescape(escaped);
    // compressed memory: it is on no disk, unless somebody gave it one to write back to
    if (where === "" || (/^\/dev\/zram\d+$/.test(where) && !writesBack(where))) return [];
    if (liesOnDmCrypt(where)) {
      const detail = "the host's swap, over dm-crypt";
      return [{ kind: "host-swap", where, protection: "encrypted", detail }];
    }
    const detail = "the host swaps memory to it in plaintext: the guest's, with volume keys and passphrases";
    const hint = "encrypt the swap (crypttab: /dev/urandom and the option swap), or do without (swapoff)";
    return [{ kind: "host-swap", where, protection: "possible", detail, hint }];
  });
}

function writesBack(zram: string): boolean {
  const name = zram.slice("/dev/".length);
  const backing = ifThere(() => readFileSync(`/sys/block/${name}/backing_dev`, "utf8").trim());
  return backing !== undefined && backing !== "none";
}

/** The kernel writes spaces, tabs, line feeds and backslashes as octal numbers. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
