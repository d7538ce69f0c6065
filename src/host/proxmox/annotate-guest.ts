import { LuksmithError } from "../../error/luksmith-error.js";
import type { CommandRunner } from "../../exec/command-runner.js";
import { annotate, qmArguments } from "../../guest-config/proxmox/annotator.js";
import type { DiskNote } from "../../guest-config/proxmox/disk-notes.js";
import type { VmConfig } from "../../guest-config/proxmox/vm-config.js";
import type { GuestFile } from "./guests.js";

/** What became of the notes of one guest. */
export interface AnnotatedGuest {
  readonly vmid: string;
  readonly name: string;
  /** `found`: they would be changed, in a dry run. `left`: for the next run; `why` says why. */
  readonly outcome: "changed" | "unchanged" | "found" | "left";
  readonly why?: string;
  readonly disks: readonly DiskNote[];
}

export interface AnnotatePorts {
  readonly runner: CommandRunner;
  /** The configuration as it is now; undefined for a guest that is gone. */
  readonly read: (file: GuestFile) => VmConfig | undefined;
  readonly isRunning: (vmid: string) => boolean;
  /** What is to be said; nothing for a guest of which nothing is to be said any more. */
  readonly notesOf: (file: GuestFile, config: VmConfig) => Promise<readonly DiskNote[]>;
}

/** How often a configuration that somebody else changes at the same time is read again. */
const ATTEMPTS = 4;

/**
 * Brings what the guest's description and tags say about its disks up to date, through Proxmox VE's own command.
 * Idempotent. Undefined for a guest that is gone. @throws what `notesOf` throws; TOOL_FAILED for what `qm` refuses else
 */
export async function annotateGuest(
  file: GuestFile,
  { runner, read, isRunning, notesOf }: AnnotatePorts,
  manner: "apply" | "dry-run",
): Promise<AnnotatedGuest | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const config = read(file);
    if (config === undefined) return undefined;
    const { vmid } = file;
    const disks = await notesOf(file, config);
    const guest = { vmid, name: config.options["name"] ?? vmid, disks };
    const left = (why: string): AnnotatedGuest => ({ ...guest, outcome: "left", why });
    const annotating = annotate(vmid, config.options, disks);
    if (annotating.kind === "unchanged")
      return { ...guest, outcome: attempt === 1 ? "unchanged" : "changed" };
    if (annotating.kind === "impossible") return left(annotating.why);
    const { lock } = config.options;
    if (lock !== undefined) return left(`Proxmox VE has locked it: ${lock}`);
    // qm would apply these as well
    if (Object.keys(config.pending).length > 0 && !isRunning(vmid))
      return left("it has pending changes, which its next start applies");
    if (manner === "dry-run") return { ...guest, outcome: "found" };
    if (attempt === ATTEMPTS) return left("somebody else changes its configuration all the time");
    const refused = await refusalOf(runner, qmArguments(vmid, annotating.change, config.digest));
    if (refused !== undefined) return left(refused);
  }
}

/** `qm` decodes its arguments by the locale, and in C it would make U+FFFD of whatever is not ASCII. */
const LOCALE = { LC_ALL: "C.UTF-8" };

/** Why the guest must be left for now; undefined if it was changed, or was not what it was when it was read. */
async function refusalOf(runner: CommandRunner, args: readonly string[]): Promise<string | undefined> {
  try {
    await runner.run({ tool: "qm", args, env: LOCALE });
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof LuksmithError) || thrown.code !== "TOOL_FAILED") throw thrown;
    const { why = "" } = thrown;
    if (/checksum mismatch|modified configuration/.test(why)) return undefined;
    if (/is locked|can't lock file/.test(why)) return `Proxmox VE has locked it: ${why}`;
    throw thrown;
  }
}
