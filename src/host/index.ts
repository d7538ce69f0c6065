import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { LeftBehind } from "../exec/left-behind.js";
import type { EffectiveSettings } from "../settings/settings.js";
import type { StorageRegistry } from "../storage/index.js";
import type { HostAdapter } from "./host-adapter.js";
import { LibvirtHostAdapter } from "./libvirt/libvirt-host-adapter.js";
import { isProxmoxHost } from "./proxmox/detect.js";
import { ProxmoxHostAdapter } from "./proxmox/proxmox-host-adapter.js";

/** What a host adapter may need; the storage is made when it is asked for. */
export interface HostPorts {
  readonly runner: CommandRunner;
  readonly storage: () => StorageRegistry;
  readonly leaveBehind: (left: LeftBehind) => void;
}

type MakeHost = (settings: EffectiveSettings, ports: HostPorts) => HostAdapter;

/** Every host manager that this version can serve. */
const HOSTS = {
  libvirt: (settings, { runner }) => new LibvirtHostAdapter(settings, runner),
  proxmox: (settings, ports) => new ProxmoxHostAdapter(settings, ports),
} as const satisfies Record<HostAdapter["type"], MakeHost>;

export type KnownHost = keyof typeof HOSTS;

export const KNOWN_HOSTS = Object.keys(HOSTS) as KnownHost[];

/** @throws EVENT_INVALID for a host manager that this version does not know */
export function parseHostType(name: string | undefined): KnownHost {
  const known = KNOWN_HOSTS.find((host) => host === name);
  if (known !== undefined) return known;
  throw new LuksmithError("EVENT_INVALID", {
    what: `cannot serve host manager ${name ?? "(none given)"}`,
    why: `this luksmith knows ${KNOWN_HOSTS.join(", ")}`,
    hint: "hooks are called by the shim that `luksmith install` writes",
  });
}

export function hostAdapterFor(host: KnownHost, settings: EffectiveSettings, ports: HostPorts): HostAdapter {
  return HOSTS[host](settings, ports);
}

/** The host manager that this host has. */
export function detectHost(): KnownHost {
  return isProxmoxHost() ? "proxmox" : "libvirt";
}
