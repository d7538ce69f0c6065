import { LuksmithError } from "../../../error/luksmith-error.js";

/** Of a template, from which its linked clones are made, on storage that clones snapshots only. */
export const BASE_SNAPSHOT = "__base__";

/** As Proxmox VE names snapshots; the same as in schemas/proxmox. */
const NAME = /^(?:__base__|[A-Za-z][A-Za-z0-9_-]{0,39})$/;

export function isSnapshotName(name: string): boolean {
  return NAME.test(name);
}

/** @throws REQUEST_INVALID: no other name may reach a tool */
export function requireSnapshotName(name: string): void {
  if (isSnapshotName(name)) return;
  throw new LuksmithError("REQUEST_INVALID", {
    what: "cannot use a snapshot of this name",
    why: "it has other characters than letters, digits, _ and -, or is longer than 40 of them",
    hint: "choose another name",
  });
}
