import { dirname, join } from "node:path";
import type { HostAdapter } from "../host/host-adapter.js";
import { isProxmoxHost } from "../host/proxmox/detect.js";

/** Where the operator's settings are, by host manager; tests pass other paths. */
const PATHS: Readonly<Record<HostAdapter["type"], string>> = {
  libvirt: "/etc/luksmith/settings.json",
  // on the cluster's file system: once for all nodes
  proxmox: "/etc/pve/luksmith/settings.json",
};

export function settingsPathOf(host: HostAdapter["type"]): string {
  return PATHS[host];
}

/** On this host. */
export function settingsPath(): string {
  return settingsPathOf(isProxmoxHost() ? "proxmox" : "libvirt");
}

/** The directory of the secrets that belong to the settings in `path`; root alone reads it. */
export function secretsDirectoryOf(path: string): string {
  // below /etc/pve, modes are the file system's own, and root alone reads what is in priv
  return path === PATHS.proxmox ? "/etc/pve/priv/luksmith" : join(dirname(path), "secrets");
}
