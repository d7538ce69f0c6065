import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { ProxmoxHookInput } from "../../generated/proxmox-hook-input.js";
import validate from "../../generated/validate-proxmox-hook-input.cjs";
import type { Guest, HookInput, LifecycleEvent } from "../host-adapter.js";

/** Phases of Proxmox VE's hookscripts by which an event comes; a guest that migrates here has a pre-start like any other. */
const PHASES: Readonly<Record<HookInput["event"], readonly string[]>> = {
  "pre-start": ["pre-start"],
  "pre-migrate": ["pre-start", "pre-migrate"],
  "post-stop": ["post-stop"],
};

export type GuestOf = (vmid: string, config: Readonly<Record<string, string>>) => Guest;

export interface ParsedEvent {
  readonly event: LifecycleEvent;
  /** Name of the directory for the host secrets of this start. */
  readonly start: string | undefined;
}

/**
 * argv is VMID PHASE; stdin what the storage plugin says about the guest. @throws EVENT_INVALID, and what `guestOf`
 * throws
 */
export function parseEvent({ event, argv, stdin }: HookInput, guestOf: GuestOf): ParsedEvent {
  const [vmid, phase] = argv;
  if (vmid === undefined || phase === undefined || !PHASES[event].includes(phase))
    throw invalid(`${event} is not what the storage plugin does for "${printable(argv.join(" "))}"`);
  const input = parseInput(stdin);
  if (String(input.vmid) !== vmid)
    throw invalid(`the hook was called for guest ${printable(vmid)} with the input for ${input.vmid}`);
  const guest = event === "post-stop" ? stopped(vmid, input.config, guestOf) : guestOf(vmid, input.config);
  return { event: eventFor(event, guest, input.config), start: input.start };
}

/**
 * A guest that has stopped is taken its passphrases from, whatever is wrong with its configuration, and also while the
 * cluster's file system is away, as it is when the host shuts down.
 */
function stopped(vmid: string, config: ProxmoxHookInput["config"], guestOf: GuestOf): Guest {
  try {
    return guestOf(vmid, config);
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    const disks = { disk_bus: "scsi", cdrom_bus: "ide", mapping: {} } as const;
    return { id: vmid, name: config["name"] ?? vmid, disks, asks: [], tags: [], configuration: "" };
  }
}

function eventFor(
  event: HookInput["event"],
  guest: Guest,
  config: ProxmoxHookInput["config"],
): LifecycleEvent {
  switch (event) {
    case "pre-start":
      return { event, cause: resumes(config) ? "restore" : "start", guest };
    case "pre-migrate":
      return { event, cause: "migrate", guest };
    case "post-stop":
      return { event, cause: "stop", guest };
  }
}

/** Whether the guest's next start resumes it from hibernation: qm.conf(5), vmstate and lock. */
export function resumes(config: Readonly<Record<string, string>>): boolean {
  return config["vmstate"] !== undefined || config["lock"] === "suspended";
}

function parseInput(stdin: string): ProxmoxHookInput {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch {
    throw invalid("the storage plugin gave it no JSON");
  }
  if (isInput(value)) return value;
  const [problem] = validate.errors ?? [];
  throw invalid(
    `the storage plugin gave it what it does not know: ${problem?.instancePath ?? ""} ${problem?.message ?? ""}`,
  );
}

function isInput(value: unknown): value is ProxmoxHookInput {
  return validate(value);
}

function invalid(why: string): LuksmithError {
  return new LuksmithError("EVENT_INVALID", {
    what: "cannot handle a call of Proxmox VE's hook",
    why,
    hint: "hooks are started by the storage plugin; if it is of another version: luksmith install --host proxmox",
  });
}
