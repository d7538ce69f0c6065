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
