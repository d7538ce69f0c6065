import type { StatusOutput } from "../../../generated/status.js";
import { counted } from "./words.js";

export interface Headline {
  readonly variant: "success" | "warning" | "danger" | "info";
  readonly words: string;
}

/** The state of the host in one sentence: what is worst, first. */
export function headlineOf({ unreadable, disks }: NonNullable<StatusOutput["summary"]>): Headline {
  const total = Object.values(disks).reduce((sum, count) => sum + count, 0);
  const { unprotected, unproven, plain, pending } = disks;
  if (unprotected > 0) {
    const words = `${counted(unprotected, "disk")} should be encrypted and ${unprotected === 1 ? "is" : "are"} not.`;
    return { variant: "danger", words };
  }
  if (unproven > 0 || unreadable > 0) {
    const unknown = [
      ...(unproven > 0 ? [counted(unproven, "disk")] : []),
      ...(unreadable > 0 ? [`all disks of ${counted(unreadable, "guest")}`] : []),
    ];
    return { variant: "warning", words: `The state of ${unknown.join(" and ")} could not be found out.` };
  }
  if (total === 0) return { variant: "info", words: "The guests of this host have no disks." };
  if (plain === 0 && pending === 0) return { variant: "success", words: "Every disk is encrypted." };
  const rest = [
    ...(pending > 0 ? [`${counted(pending, "disk")} will be at the next start`] : []),
    ...(plain > 0 ? [`nobody asks for it for ${counted(plain, "disk")}`] : []),
  ];
  return { variant: "info", words: `Every disk is encrypted that should be; ${rest.join(", and ")}.` };
}
