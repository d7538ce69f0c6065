import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { formatBytes } from "../../plan/bytes.js";
import { roundUp } from "../../storage/sectors.js";
import type { Candidate } from "./candidate.js";

const MIB = 1024n * 1024n;

/** The whole conversion for people, a line each, as `--dry-run` prints it. */
export function tasksOf({ key, isBegun, room, task, to, volume, disk, guest }: Candidate): string[] {
  const { path } = volume;
  const { goal } = task;
  if (isBegun)
    return [
      `go on to ${to === "encrypted" ? "encrypt" : "decrypt"} ${path} in place, under key ${key?.record.uuid ?? ""}`,
    ];
  const header = formatBytes(BigInt(PAYLOAD_OFFSET));
  if (goal.to === "plain") {
    const end =
      volume.kind === "file"
        ? `cut the last ${header} off ${path}`
        : `leave the last ${header} of ${path} as zeros`;
    return [
      `decrypt ${path} in place`,
      end,
      `take the encryption block of disk ${disk.dev} out of the configuration of ${guest.name}`,
      `leave key ${key?.record.uuid ?? ""} in keystore ${key?.keystore.name ?? ""}`,
    ];
  }
  const { needed = 0n, free = 0n } = room ?? {};
  return [
    `make a key for disk ${disk.dev} and store it in keystore ${goal.request.keystore}`,
    `write the encryption block of disk ${disk.dev} into the configuration of ${guest.name}`,
    `enlarge ${path} by ${header}; it takes ${formatBytes(roundUp(needed, MIB))} more of ${formatBytes(free - (free % MIB))} that are free`,
    `encrypt ${path} in place`,
  ];
}
