import type { StatusOutput } from "../../generated/status.js";

export type Verdict = StatusOutput["guests"][number]["disks"][number]["verdict"];

export interface VerdictWords {
  readonly word: string;
  /** What is true of such a disk. */
  readonly meaning: string;
  /** Tells it apart where colours do not. */
  readonly sign: string;
  readonly color: "green" | "red" | "grey" | "blue" | "purple" | "orange";
}

/** The same words wherever a verdict is shown. What needs attention comes first. */
export const VERDICTS = {
  unprotected: {
    word: "Not encrypted",
    meaning: "Encryption is asked for, and the data are plain.",
    sign: "✕",
    color: "red",
  },
  unproven: {
    word: "Not known",
    meaning: "Whether it is encrypted could not be found out.",
    sign: "?",
    color: "orange",
  },
  pending: {
    word: "Pending",
    meaning: "Empty; the guest's next start formats it.",
    sign: "…",
    color: "blue",
  },
  foreign: {
    word: "Encrypted by others",
    meaning: "Encrypted with a key that Luksmith does not have.",
    sign: "◆",
    color: "purple",
  },
  plain: { word: "Plain", meaning: "Not encrypted, and nobody asks for it.", sign: "○", color: "grey" },
  protected: { word: "Protected", meaning: "Encrypted with a key of its own.", sign: "✓", color: "green" },
  shredded: { word: "Shredded", meaning: "All that opens it was destroyed.", sign: "–", color: "grey" },
} satisfies Record<Verdict, VerdictWords>;

export const VERDICT_ORDER = Object.keys(VERDICTS) as readonly Verdict[];
