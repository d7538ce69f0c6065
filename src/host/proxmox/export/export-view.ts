import { makeDirectory } from "../../../fs/atomic-file.js";
import type { ProxmoxPlaces } from "../places.js";
import { type Mount, mountOn } from "./fuse-mount.js";
import type { ExportResources } from "./resources.js";

/** Enough for thousands of empty files and links. */
const TMPFS = "mode=0700,size=4m,nosuid,nodev,noexec";

/**
 * Makes the directory of exports what it is: a file system of its own in memory that is mounted twice, read-only where
 * everybody looks, and writable where the engine makes what volumes are mounted on. So nothing but a volume can ever be
 * written to an export's path: not when its daemon has ended by itself and what it was mounted on shows, and not to a
 * path where nothing is exported, by programs that create the files that they write. Idempotent, and goes on with what
 * a killed one has begun.
 * @throws TOOL_FAILED, LOCK_TIMEOUT
 */
export async function makeExportView({ places, locks, runner }: ExportResources): Promise<void> {
  const { exports: view, exportsWritable: writable } = places;
  const mount = async (...args: string[]) => {
    await runner.run({ tool: "mount", args });
  };
  if (isComplete(places)) return;
  await locks.hold(`mount ${view}`, async () => {
    for (const directory of [view, writable]) makeDirectory(directory, 0o700);
    if (mountOn(writable) === undefined) {
      // private: as peers, each would show what is mounted on the other
      const from = mountOn(view) === undefined ? ["-t", "tmpfs", "-o", TMPFS, "luksmith"] : ["--bind", view];
      await mount("--make-private", ...from, writable);
    }
    if (isReadOnly(mountOn(writable))) await mount("-o", "remount,bind,rw", writable);
    if (mountOn(view) === undefined) await mount("--bind", writable, view);
    if (!isReadOnly(mountOn(view))) await mount("-o", "remount,bind,ro,nosuid,nodev,noexec", view);
  });
}

function isComplete({ exports: view, exportsWritable: writable }: ProxmoxPlaces): boolean {
  const [seen, made] = [mountOn(view), mountOn(writable)];
  return made !== undefined && !isReadOnly(made) && seen !== undefined && isReadOnly(seen);
}

function isReadOnly(mount: Mount | undefined): boolean {
  return mount?.options.includes("ro") === true;
}
