import { LuksmithError } from "../../../error/luksmith-error.js";

/** Volumes of guests as Proxmox VE names them; nothing else on a base is ours. As in schemas/proxmox. */
const VOLUME = /^(?:vm|base)-[1-9][0-9]{2,8}-[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/;

export function isVolumeName(name: string): boolean {
  return VOLUME.test(name);
}

/** On storage that makes no snapshots. */
export function withoutSnapshots(type: string, name: string): LuksmithError {
  return new LuksmithError("VOLUME_UNSUPPORTED", {
    what: `volume ${name} has no snapshots`,
    why: `a base of type ${type} makes none; lvm-thin, zfs and rbd do`,
  });
}
