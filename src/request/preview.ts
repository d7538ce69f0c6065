import type { DiskMapping } from "../disk-info/disk-info.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { type Problem, problemOf } from "../error/problem.js";
import type { Guest } from "../host/host-adapter.js";
import { volumeName } from "../storage/volume.js";
import { holdsGuestData } from "./guest-data.js";
import { type RequestSettings, resolveRequests, voicesFor } from "./resolve.js";
import { speakingRule } from "./rules.js";

/** What is wished for a disk, and by whom. */
export interface PreviewedDisk {
  device: string;
  volume: string;
  /** Name of the rule that speaks for it. */
  rule?: string;
  wish: "encrypted" | "plain" | "none" | "conflict";
  profile?: string;
  askedBy: string[];
  /** Why the guest would not start. */
  problem?: Problem;
}

/**
 * What the settings ask of each disk of a guest that may hold its data, whatever is true of the disk. Pure, no I/O.
 * @throws REQUEST_INVALID where one who speaks about the guest cannot be understood
 */
export function previewRequests(guest: Guest, settings: RequestSettings): PreviewedDisk[] {
  // whoever cannot be understood may mean any disk
  resolveRequests(withDisks(guest, []), settings);
  return Object.values(guest.disks.mapping)
    .filter(holdsGuestData)
    .map((disk) => previewOf(guest, disk, settings));
}

function previewOf(guest: Guest, disk: DiskMapping, settings: RequestSettings): PreviewedDisk {
  const voices = voicesFor(guest, disk, settings);
  const rule = speakingRule(settings.rules, guest, disk)?.rule.name;
  const seen = {
    ...{ device: disk.dev, volume: volumeName(disk.volume) },
    ...(rule !== undefined && { rule }),
    askedBy: voices.map(({ source }) => source),
  };
  try {
    // one disk's conflict says nothing about the others
    const request = resolveRequests(withDisks(guest, [disk]), settings).get(disk.dev);
    if (request !== undefined) return { ...seen, wish: "encrypted", profile: request.profile };
    return { ...seen, wish: voices.some(({ enabled }) => enabled === false) ? "plain" : "none" };
  } catch (thrown) {
    return { ...seen, wish: "conflict", problem: problemOf(asLuksmithError(thrown)) };
  }
}

function withDisks(guest: Guest, disks: readonly DiskMapping[]): Guest {
  const mapping = Object.fromEntries(disks.map((disk) => [disk.dev, disk]));
  return { ...guest, disks: { ...guest.disks, mapping } };
}
