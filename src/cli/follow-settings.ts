import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { recoverableDisks } from "../recovery/recoverable-disk.js";
import { followPolicy } from "../recovery/policy.js";
import { RecoveryKeyslots } from "../recovery/recovery-keyslots.js";
import { HOST, KEYRING, LOGGER, SETTINGS } from "../tokens.js";
import { recoveryPorts } from "./recovery-ports.js";

/** Gives a guest's disks the recovery keyslots that the settings want. Never throws: what fails is a warning. */
export async function followSettings(container: Container, guestId: string): Promise<void> {
  const settings = container.resolve(SETTINGS);
  if (settings.profiles.every(({ recovery }) => recovery.length === 0)) return;
  const [host, logger] = [container.resolve(HOST), container.resolve(LOGGER)];
  try {
    const disks = await recoverableDisks(host, await host.readGuest(guestId));
    const recovery = new RecoveryKeyslots(recoveryPorts(container));
    await followPolicy(disks, { keyring: container.resolve(KEYRING), settings, logger, recovery });
  } catch (thrown) {
    const error = asLuksmithError(thrown);
    if (error.code !== "DISK_NOT_ENCRYPTED")
      logger.warn("could not add the recovery keyslots that the settings want", { error });
  }
}
