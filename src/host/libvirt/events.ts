import { LuksmithError } from "../../error/luksmith-error.js";
import { guestFromDomainXml } from "../../guest-config/domain-guest.js";
import { probedXml } from "../../guest-config/probe-metadata.js";
import { printable } from "../../error/printable.js";
import type { HookInput, LifecycleEvent } from "../host-adapter.js";

type EventKind<Event extends LifecycleEvent = LifecycleEvent> = Event extends LifecycleEvent
  ? Pick<Event, "event" | "cause">
  : never;

/** A call of libvirt's qemu hook that Luksmith handles (https://libvirt.org/hooks.html). */
interface HookCall {
  readonly operation: string;
  readonly subOperation: string;
  readonly kind: EventKind;
}

/**
 * `release` follows every end of a guest: shutdown, crash, save, migration away, and a start that failed after
 * `prepare`. `started` follows every start, also one that waits for the memory of a guest that migrates here. Attaching
 * a disk to a running guest fires nothing.
 */
export const HOOK_CALLS: readonly HookCall[] = [
  { operation: "prepare", subOperation: "begin", kind: { event: "pre-start", cause: "start" } },
  { operation: "restore", subOperation: "begin", kind: { event: "pre-start", cause: "restore" } },
  { operation: "reconnect", subOperation: "begin", kind: { event: "pre-start", cause: "reconnect" } },
  { operation: "migrate", subOperation: "begin", kind: { event: "pre-migrate", cause: "migrate" } },
  { operation: "started", subOperation: "begin", kind: { event: "pre-migrate", cause: "arrival" } },
  { operation: "release", subOperation: "end", kind: { event: "post-stop", cause: "stop" } },
];

/**
 * argv is libvirt's: GUEST OPERATION SUB-OPERATION EXTRA; stdin the domain XML. Of a probe that migrates here, the guest
 * is the one that it asks for. @throws EVENT_INVALID, GUEST_CONFIG_INVALID
 */
export function parseEvent({ event, argv, stdin }: HookInput): LifecycleEvent {
  const [name, operation, subOperation] = argv;
  const call = HOOK_CALLS.find(
    (known) =>
      known.kind.event === event && known.operation === operation && known.subOperation === subOperation,
  );
  if (name === undefined || call === undefined) {
    throw invalid(`${event} is not what libvirt's hook does for "${printable(argv.join(" "))}"`);
  }
  const guest = guestFromDomainXml(stdin);
  if (guest.name !== name) {
    throw invalid(
      `the hook was called for guest "${printable(name)}" with the configuration of "${printable(guest.name)}"`,
    );
  }
  const inner = call.kind.cause === "migrate" ? probedXml(stdin) : undefined;
  if (inner === undefined) return { ...call.kind, guest };
  return { event: "pre-migrate", cause: "check", guest: guestFromDomainXml(inner) };
}

function invalid(why: string): LuksmithError {
  return new LuksmithError("EVENT_INVALID", {
    what: "cannot handle a call of libvirt's hook",
    why,
    hint: "luksmith's hooks are started by libvirt through the shim that `luksmith install --host libvirt` writes",
  });
}
