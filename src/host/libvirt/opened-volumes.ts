import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ifThere } from "../../fs/if-there.js";
import type { Opened } from "../guest-migration.js";
import type { Guest } from "../host-adapter.js";
import type { Volume } from "../../storage/volume.js";

/** A file or device by what it is, since QEMU may see it under another path. */
type Identity = string;

/**
 * How a QEMU that waits for a guest has the volumes of its disks open, by device name; those that have no path are not
 * in it. Until the guest arrives, QEMU opens for writing nothing but what is copied to it.
 * @throws if the process is gone, or /proc cannot be read
 */
export function openedVolumes({ disks }: Pick<Guest, "disks">, pid: number, root = "/"): Map<string, Opened> {
  const open = openFiles(join(root, `proc/${pid}`));
  const found = Object.values(disks.mapping).flatMap(({ dev, volume, mapping }): [string, Opened][] => {
    const path = mapping === undefined ? pathOf(volume) : `/dev/mapper/${mapping}`;
    const identity = path === undefined ? undefined : identityOf(join(root, path));
    const opened = identity === undefined ? undefined : open.get(identity);
    return opened === undefined ? [] : [[dev, opened]];
  });
  return new Map(found);
}

function pathOf(volume: Volume): string | undefined {
  return volume.kind === "file" || volume.kind === "block" ? volume.path : undefined;
}

function openFiles(process: string): Map<Identity, Opened> {
  const open = new Map<Identity, Opened>();
  for (const fd of readdirSync(join(process, "fd"))) {
    const identity = identityOf(join(process, "fd", fd));
    const flags = identity && ifThere(() => readFileSync(join(process, "fdinfo", fd), "utf8"));
    if (identity === undefined || flags === undefined) continue;
    // O_ACCMODE of fcntl.h: 0 is O_RDONLY
    const mode = parseInt(/^flags:\s+([0-7]+)/m.exec(flags)?.[1] ?? "2", 8) & 0o3;
    if (mode !== 0) open.set(identity, "for-writing");
    else if (!open.has(identity)) open.set(identity, "read-only");
  }
  return open;
}

function identityOf(path: string): Identity | undefined {
  const stats = ifThere(() => statSync(path, { bigint: true }));
  if (stats === undefined) return undefined;
  return stats.isBlockDevice() ? `device ${stats.rdev}` : `file ${stats.dev} ${stats.ino}`;
}
