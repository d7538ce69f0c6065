import type { ErrorCode } from "../../../error/catalogue.js";
import { LuksmithError } from "../../../error/luksmith-error.js";

type Code = Extract<
  ErrorCode,
  "VOLUME_EXISTS" | "VOLUME_NOT_FOUND" | "VOLUME_BUSY" | "VOLUME_WRITE_FAILED" | "VOLUME_UNREADABLE"
>;

const HINTS: Readonly<Partial<Record<Code, string>>> = {
  VOLUME_EXISTS: "choose another name",
  VOLUME_BUSY: "stop what uses it, or remove what depends on it, and try again",
  VOLUME_WRITE_FAILED: "put this right and try again",
};

/** Something that storage could not do with a volume, its snapshot or its clone. */
export function storageFailed(code: Code, what: string, why: string): LuksmithError {
  const hint = HINTS[code];
  return new LuksmithError(code, { what, why, ...(hint === undefined ? {} : { hint }) });
}
