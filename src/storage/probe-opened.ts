import { LuksmithError } from "../error/luksmith-error.js";
import type { Probe } from "./storage-backend.js";

/** Opens a volume for `examine` and turns errors that speak about the volume into the probe's answers. */
export async function probeOpened<Opened extends AsyncDisposable>(
  open: () => Promise<Opened>,
  examine: (opened: Opened) => Promise<Probe>,
): Promise<Probe> {
  try {
    await using opened = await open();
    return await examine(opened);
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError)) throw thrown;
    if (thrown.code === "VOLUME_NOT_FOUND") return { kind: "absent" };
    if (!ABOUT_THE_VOLUME.has(thrown.code)) throw thrown;
    return { kind: "unreadable", reason: thrown.why ?? thrown.message };
  }
}

/** A tool that fails or hangs while it reads a volume does so over the volume, and who waits for it waits in vain. */
const ABOUT_THE_VOLUME: ReadonlySet<string> = new Set([
  "VOLUME_UNREADABLE",
  "TOOL_FAILED",
  "TOOL_TIMEOUT",
  "LOCK_TIMEOUT",
]);
