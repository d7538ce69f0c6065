import { join } from "node:path";
import { PLUGIN_ROOT } from "../manifest/load.js";
import { startDetached } from "./detached.js";

/** What a hook leaves to be done after it, since its host manager waits for it and would not answer. */
export type LeftBehind =
  /** Wait until a guest that migrates here has arrived, and put its configuration right. */
  | { readonly command: "settle"; readonly guest: string }
  /** Clean up after guests that do not run. */
  | { readonly command: "reap" }
  /** Say in the configuration of a guest which of its disks are encrypted. */
  | { readonly command: "annotate"; readonly guest: string }
  /** Give a guest's disks the recovery keyslots that the settings want. */
  | { readonly command: "escrow add --policy"; readonly guest: string };

/** Starts the command in a process of its own that nobody waits for. The reaper's timer does what it cannot do. */
export function leaveBehind(left: LeftBehind): void {
  const words = left.command.split(" ");
  const args = "guest" in left ? [...words, left.guest] : words;
  startDetached("node", [join(PLUGIN_ROOT, "dist/cli/luksmith.js"), ...args]);
}
