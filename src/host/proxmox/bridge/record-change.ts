import type { KeyEvent } from "../../../audit/audit-log.js";
import { neverRefusing, type PlannedUse, recordFailure } from "../../../audit/recorded.js";
import type { KeyUuid } from "../../../keystore/key-uuid.js";
import type { BridgeResources } from "./resources.js";

/** A volume of Proxmox VE, and what is done with it. */
type Change = Pick<PlannedUse, "disk" | "volume" | "guest" | "detail"> & {
  readonly event: Extract<KeyEvent, "rename" | "resize" | "clone" | "free">;
  /** Of the key that its LUKS header names; undefined for one without. */
  readonly key: KeyUuid | undefined;
};

/**
 * Changes a volume, and with it what its key stands for, and records how that ended. No passphrase is used, so that what
 * cannot be recorded is a warning whatever the settings require.
 */
export async function recordedChange<T>(
  { key, ...change }: Change,
  { audit, warn }: Pick<BridgeResources, "audit" | "warn">,
  act: () => Promise<T>,
): Promise<T> {
  if (key === undefined) return await act();
  const log = neverRefusing(audit, warn);
  const use = { ...change, key };
  const done = await act().catch(async (thrown: unknown) => {
    await recordFailure(log, [use], thrown);
    throw thrown;
  });
  await log.record({ ...use, result: "done" });
  return done;
}
