import type { LuksmithError } from "../error/luksmith-error.js";
import { shellWord } from "../error/shell-word.js";
import { guestWord } from "../plan/commands.js";
import type { RecoverableDisk } from "./recoverable-disk.js";

/** One thing that an emergency needs, and whether it would be there. What was not tried is a warning, and never `ok`. */
export interface DrillCheck {
  readonly name:
    "keystore" | "volume" | "passphrase" | "header copy" | "recovery" | "escrow file" | "keyslots";
  readonly result: "ok" | "warning" | "failed";
  readonly detail: string;
  readonly hint?: string;
}

export function ok(name: DrillCheck["name"], detail: string): DrillCheck {
  return { name, result: "ok", detail };
}

export function warning(name: DrillCheck["name"], detail: string, hint?: string): DrillCheck {
  return { name, result: "warning", detail, ...(hint !== undefined && { hint }) };
}

export function failed(name: DrillCheck["name"], detail: string, hint?: string): DrillCheck {
  return { name, result: "failed", detail, ...(hint !== undefined && { hint }) };
}

export function failedBy(name: DrillCheck["name"], { message, why, hint }: LuksmithError): DrillCheck {
  return failed(name, why === undefined ? message : `${message}: ${why}`, hint);
}

/** A command about the disk, to be pasted into a shell. */
export function commandFor({ guest, disk }: RecoverableDisk, command: string, rest = ""): string {
  return `luksmith ${command} ${guestWord(guest)} ${shellWord(disk)}${rest}`;
}
