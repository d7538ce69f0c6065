import { readdirSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { LuksmithError } from "../../../error/luksmith-error.js";
import { ifThere } from "../../../fs/if-there.js";
import type { ProxmoxPlaces } from "../places.js";
import { endExport, exportedMount } from "./end-export.js";
import { type ExportName, ExportPlace, exportOfFile } from "./export-place.js";
import { usersOf } from "./fuse-mount.js";
import type { ExportResources } from "./resources.js";
import { allDaemons } from "./storage-daemon.js";

/** An export that there is something of. */
export interface ExportState {
  readonly name: ExportName;
  /** For messages. */
  readonly label: string;
  /** Nobody serves a `dead` one, and nobody can read it. */
  readonly state: "in use" | "idle" | "dead";
  /** When it was last asked for, or seen in use. */
  readonly since: Date;
}

/** All exports of this host. Changes nothing but the time of those that are in use. */
export function listExports(places: ProxmoxPlaces): ExportState[] {
  const found = new Map<string, ExportPlace>();
  for (const storage of directoriesIn(places.exports)) {
    for (const file of namesIn(join(places.exports, storage))) {
      const name = exportOfFile(storage, file);
      const place = name && new ExportPlace(places, name);
      if (place !== undefined) found.set(place.label, place);
    }
  }
  return statesOf([...found.values()]);
}

/**
 * Ends the exports that nobody has open, nor had or asked for in the last `olderThan` milliseconds, and what is left of
 * dead ones. Proxmox VE does not end all that it has begun. Never fails: what cannot be ended now is for the next time.
 * @returns what was ended
 */
export async function closeIdleExports(
  olderThan: number,
  resources: ExportResources,
): Promise<ExportState[]> {
  const ended: ExportState[] = [];
  for (const { name } of listExports(resources.places)) {
    const place = new ExportPlace(resources.places, name);
    try {
      await resources.locks.hold(place.lock, async () => {
        // somebody may have asked for it since
        const [now] = statesOf([place]);
        if (now === undefined || !isToEnd(now, olderThan)) return;
        await endExport(place, resources, "unless it is used");
        ended.push(now);
      });
    } catch (thrown) {
      if (!(thrown instanceof LuksmithError)) throw thrown;
    }
  }
  return ended;
}

function isToEnd({ state, since }: ExportState, olderThan: number): boolean {
  return state === "dead" || (state === "idle" && Date.now() - since.getTime() >= olderThan);
}

/** Looks through all processes once, however many exports there are. */
function statesOf(places: readonly ExportPlace[]): ExportState[] {
  if (places.length === 0) return [];
  const daemons = allDaemons();
  const found = places.map((place) => {
    const own = daemons.filter(({ pidFile }) => pidFile === place.pidFile);
    return { place, isAlive: own.length > 0, mount: exportedMount(place, own) };
  });
  const users = usersOf(found.flatMap(({ isAlive, mount }) => (isAlive ? (mount ?? []) : [])));
  return found.map(({ place, isAlive, mount }): ExportState => {
    const { name, label, pidFile } = place;
    // one that is being started has no pid file yet
    const since = ifThere(() => statSync(pidFile))?.mtime ?? new Date();
    if (!isAlive) return { name, label, state: "dead", since };
    const isUsed = mount !== undefined && (users.get(mount) ?? []).length > 0;
    if (!isUsed) return { name, label, state: "idle", since };
    const now = new Date();
    ifThere(() => utimesSync(pidFile, now, now));
    return { name, label, state: "in use", since: now };
  });
}

function directoriesIn(directory: string): string[] {
  const entries = ifThere(() => readdirSync(directory, { withFileTypes: true })) ?? [];
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

function namesIn(directory: string): string[] {
  return ifThere(() => readdirSync(directory)) ?? [];
}
