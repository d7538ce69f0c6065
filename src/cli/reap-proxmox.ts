import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import type { FreedKeysResources } from "../host/proxmox/freed-keys.js";
import { ProxmoxPlaces } from "../host/proxmox/places.js";
import type { Reaped } from "../reap/reaper.js";
import { AUDIT, CLOCK, COMMAND_RUNNER, HOST, KEYRING, LOGGER, SETTINGS, STORAGE } from "../tokens.js";

/** What Proxmox VE leaves besides: exports and passphrases that nobody needs, and keys of volumes that were destroyed. */
export async function reapProxmox(
  container: Container,
  locks: Pick<FreedKeysResources, "locks" | "keyLocks">,
  manner: "apply" | "dry-run",
): Promise<Reaped[]> {
  const host = container.resolve(HOST);
  if (host.type !== "proxmox") return [];
  const left = (await host.reap?.(manner)) ?? [];
  const { reapFreedKeys } = await import("../host/proxmox/freed-keys.js");
  try {
    const freed = await reapFreedKeys(manner, {
      settings: container.resolve(SETTINGS),
      runner: container.resolve(COMMAND_RUNNER),
      keyring: container.resolve(KEYRING),
      storage: container.resolve(STORAGE),
      ...locks,
      audit: container.resolve(AUDIT),
      clock: container.resolve(CLOCK),
      places: new ProxmoxPlaces(),
    });
    return [...left, ...freed];
  } catch (thrown) {
    // a keystore that is away keeps its keys until the next time, and nothing else from being cleaned
    const error = asLuksmithError(thrown);
    container.resolve(LOGGER).warn(`keys of destroyed volumes are looked at next time: ${error.message}`);
    return left;
  }
}

/** Tags and notes of this node's VMs, as `luksmith annotate` brings them up to date; the log says what came of it. */
export async function annotateAll(container: Container): Promise<void> {
  if (container.resolve(HOST).type !== "proxmox") return;
  const logger = container.resolve(LOGGER);
  const { ProxmoxAnnotator } = await import("../host/proxmox/annotator.js");
  try {
    const annotator = new ProxmoxAnnotator({
      runner: container.resolve(COMMAND_RUNNER),
      storage: container.resolve(STORAGE),
      keyring: container.resolve(KEYRING),
      settings: container.resolve(SETTINGS),
      places: new ProxmoxPlaces(),
    });
    const guests = await annotator.annotate([], { manner: "apply", notes: "bring-up-to-date" });
    for (const { name: guest, outcome } of guests)
      if (outcome === "changed") logger.info("tag and notes brought up to date", { guest });
  } catch (thrown) {
    // nothing depends on them, and there is a next time
    const error = asLuksmithError(thrown);
    logger.warn(`tags and notes of VMs are brought up to date next time: ${error.message}`);
  }
}
