import { LuksmithError } from "../error/luksmith-error.js";
import type { HostAdapter } from "../host/host-adapter.js";
import { keyUuidOf } from "../keystore/key-record.js";
import type { Key } from "../keystore/keystore.js";
import type { StorageRegistry } from "../storage/index.js";
import { findKeyUser } from "./key-users.js";
import { probeKeyVolume } from "./key-volume.js";

/** What the administrator says about a volume that cannot be found or read: that it never will be, or nothing. */
export type VolumeClaim = "gone" | "unknown";

/**
 * Refuses a key that something on this host needs. Guests and storage of other hosts cannot be seen.
 * @throws KEY_IN_USE; VOLUME_NOT_FOUND, VOLUME_UNREADABLE without the claim: a volume that is not there may be on
 *   storage that is not mounted, or moved; what keeps a guest's configuration from being read
 */
export async function requireUnused(
  key: Key,
  claim: VolumeClaim,
  { host, storage }: { readonly host: HostAdapter; readonly storage: StorageRegistry },
): Promise<void> {
  const { volume } = key.record;
  const user = await findKeyUser(host, keyUuidOf(key.record));
  if (user !== undefined) {
    throw new LuksmithError("KEY_IN_USE", {
      what: `disk ${user.disk} of guest ${user.guest} uses it`,
      why: `it is in the guest's ${user.configuration} configuration`,
      hint: "detach the disk, or undefine the guest, if you do not need it any more",
    });
  }
  const answer = await probeKeyVolume(key, storage);
  switch (answer.kind) {
    case "uses-key":
      throw new LuksmithError("KEY_IN_USE", {
        what: `volume ${volume} is encrypted under it`,
        why: answer.why,
        hint: "delete the volume first, if you do not need what is on it any more",
      });
    case "free":
      return;
    case "data":
      if (claim === "gone") return;
      throw new LuksmithError("VOLUME_UNREADABLE", {
        what: `volume ${volume} does not tell whether it needs it`,
        why: "it holds data without a LUKS header; if the header was overwritten, a backup of it needs the key",
        hint: "if nobody needs what was encrypted there any more: --volume-is-gone",
      });
    case "absent":
      if (claim === "gone") return;
      throw new LuksmithError("VOLUME_NOT_FOUND", {
        what: `volume ${volume} is not there`,
        why: "its storage may not be mounted now, or it may have been moved or renamed",
        hint: "if it was deleted for good, and so were its copies: --volume-is-gone",
      });
    case "unreadable":
      if (claim === "gone") return;
      throw new LuksmithError("VOLUME_UNREADABLE", {
        what: `volume ${volume} does not tell whether it needs it`,
        why: answer.reason,
        hint: "if it never will, since its storage is gone for good: --volume-is-gone",
      });
  }
}
