import type { CommandRunner } from "../exec/command-runner.js";
import type { ConversionNote } from "../generated/conversion-note.js";
import type { Volume } from "../storage/volume.js";
import { identityOf } from "./volume-identity.js";

/** @param key UUID of the key that opens it; undefined for a plain one */
export async function notedVolume(
  volume: Volume,
  key: string | undefined,
  runner: CommandRunner,
): Promise<ConversionNote["new"]> {
  if (!isNotable(volume)) throw new Error("only files and devices of formats that are copied are noted");
  const { kind, path, format } = volume;
  const identity = await identityOf(volume, runner);
  return {
    ...{ kind, path, format },
    ...(key !== undefined && { key }),
    ...(identity !== undefined && { identity }),
  };
}

/** One that is still to be made: what has its name now is another one. */
export function unmadeVolume({ kind, path, format, key }: ConversionNote["new"]): ConversionNote["new"] {
  return { kind, path, format, ...(key !== undefined && { key }) };
}

type NotableVolume = Extract<Volume, { kind: "file" | "block" }> & { readonly format: "raw" | "qcow2" };

/** Whether a note can name it. */
export function isNotable(volume: Volume): volume is NotableVolume {
  return (volume.kind === "file" || volume.kind === "block") && volume.format !== "other";
}
