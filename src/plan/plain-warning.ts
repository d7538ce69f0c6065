import { visible } from "../error/printable.js";
import type { Guest } from "../host/host-adapter.js";
import type { Logger } from "../log/logger.js";
import { guestWord } from "./commands.js";
import type { Plan } from "./step.js";

/** Once for each start, however many disks there are: plain dm-crypt goes away. */
export function warnOfPlain(guest: Guest, { stages }: Plan, logger: Logger): void {
  const disks = stages
    .flat()
    .flatMap((step) => (step.kind === "open-mapping" && step.encryption.format === "plain" ? step.disk : []));
  if (disks.length === 0) return;
  const which = `${disks.length === 1 ? "disk" : "disks"} ${disks.join(", ")} of guest ${guest.name}`;
  const how = `luksmith convert ${guestWord(guest)} ${disks[0] ?? ""}`;
  logger.warn(visible(`${which}: plain dm-crypt is deprecated; convert to LUKS: ${how}`), {
    guest: guest.name,
  });
}
