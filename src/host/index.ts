import { LuksmithError } from "../error/luksmith-error.js";
import type { CommandRunner } from "../exec/command-runner.js";
import type { EffectiveSettings } from "../settings/settings.js";
import type { HostAdapter } from "./host-adapter.js";
import { LibvirtHostAdapter } from "./libvirt/libvirt-host-adapter.js";

type MakeHost = (settings: EffectiveSettings, runner: CommandRunner) => HostAdapter;

/** Every host manager that this version can serve. */
const HOSTS = {
  libvirt: (settings, runner) => new LibvirtHostAdapter(settings, runner),
} as const satisfies Partial<Record<HostAdapter["type"], MakeHost>>;

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

export function hostAdapterFor(
  host: KnownHost,
  settings: EffectiveSettings,
  runner: CommandRunner,
): HostAdapter {
  return HOSTS[host](settings, runner);
}
