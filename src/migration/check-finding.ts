import type { ErrorCode } from "../error/catalogue.js";

/** What an administrator should know before he migrates a guest. */
export interface CheckFinding {
  /** `refused`: the migration that was asked about would not happen, or must not. */
  readonly level: "ok" | "warning" | "refused";
  /** `target`: what the Luksmith there says, in its own words. */
  readonly about: "luksmith" | "target" | "guest" | "storage" | "memory";
  /** Only of `refused`; of a target that is newer it can be one that is not known here. */
  readonly code?: string;
  readonly what: string;
  readonly why?: string;
  readonly hint?: string;
}

type About = CheckFinding["about"];
type Text = Pick<CheckFinding, "what" | "why" | "hint">;

export function ok(about: About, text: Text): CheckFinding {
  return { level: "ok", about, ...text };
}

export function warning(about: About, text: Text): CheckFinding {
  return { level: "warning", about, ...text };
}

export function refused(about: About, code: ErrorCode, text: Text): CheckFinding {
  return { level: "refused", about, code, ...text };
}
