import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";
import type { HostCheck } from "../host-adapter.js";
import type { ProxmoxPlaces } from "./places.js";

/** The first version of Debian package qemu-server with the places that the plugin wraps for it. */
const NATIVE_FROM = [9, 1, 9] as const;

/** Whether QEMU opens encrypted disks itself, as the version of what starts it tells. */
export function checkNative({ root }: ProxmoxPlaces): HostCheck[] {
  const name = "native opening";
  const version = installedVersion(
    ifThere(() => readFileSync(join(root, "var/lib/dpkg/status"), "utf8")) ?? "",
  );
  // where it was not installed as a package, nobody knows
  if (version === undefined) return [];
  const needed = NATIVE_FROM.join(".");
  if (isAtLeast(version, NATIVE_FROM))
    return [{ name, result: "ok", detail: `qemu-server ${version}: QEMU decrypts disks itself` }];
  const detail = `qemu-server ${version} is older than ${needed}: disks go through exports, which is slower`;
  return [
    { name, result: "warning", detail, hint: `upgrade Proxmox VE, if there is qemu-server ${needed} for it` },
  ];
}

/** Of package qemu-server, in dpkg's own list. */
function installedVersion(status: string): string | undefined {
  const start = /^Package: qemu-server$/m.exec(status)?.index;
  if (start === undefined) return undefined;
  const [paragraph = ""] = status.slice(start).split("\n\n");
  if (!/^Status: \S+ \S+ installed$/m.test(paragraph)) return undefined;
  return /^Version: (\S+)$/m.exec(paragraph)?.[1];
}

/** Without epoch and Debian revision, of which the package has none. */
function isAtLeast(version: string, wanted: readonly number[]): boolean {
  const parts = version.split(/[.~+-]/).map(Number);
  const differing = wanted.findIndex((part, index) => (parts[index] ?? 0) !== part);
  return differing === -1 || (parts[differing] ?? 0) > (wanted[differing] ?? 0);
}
