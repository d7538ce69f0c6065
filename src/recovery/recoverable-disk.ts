import { requireEncryptedDisks } from "../disk-info/encrypted-disks.js";
import type { Guest, HostAdapter } from "../host/host-adapter.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Volume } from "../storage/volume.js";

/** An encrypted disk with the key that its configuration names. */
export interface RecoverableDisk {
  readonly guest: Pick<Guest, "id" | "name">;
  /** Device name. */
  readonly disk: string;
  readonly volume: Volume;
  readonly uuid: KeyUuid;
}

/**
 * The guest's disks with a LUKS header of their own.
 * @param dev only this one
 * @throws DISK_NOT_FOUND, DISK_NOT_ENCRYPTED if there is none; what keeps a host from telling which key a disk has
 */
export async function recoverableDisks(
  host: Pick<HostAdapter, "identified">,
  named: Guest,
  dev?: string,
): Promise<RecoverableDisk[]> {
  const guest = (await host.identified?.(named)) ?? named;
  const { id, name } = guest;
  const choice = { withHeader: true, ...(dev !== undefined && { wanted: [dev] }) };
  return requireEncryptedDisks(guest, choice).map(({ dev: disk, volume, encryption_secret_uuid: uuid }) => {
    return { guest: { id, name }, disk, volume, uuid };
  });
}
