import type { Container } from "../di.js";
import type { Keyslots } from "../encryption/keyslots.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { refuseUsed } from "../headers/refuse-used.js";
import { restoreHeader } from "../headers/restore-header.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import type { Secret } from "../secret/secret.js";
import type { StorageBackend } from "../storage/storage-backend.js";
import { type Volume, volumeName } from "../storage/volume.js";
import { HOST } from "../tokens.js";
import { createNew } from "./new-file.js";
import { print } from "./output.js";

export interface LostHeader {
  readonly volume: Volume;
  readonly backend: StorageBackend;
  readonly copy: { readonly origin: string; readonly bytes: Buffer };
  /** In the copy. */
  readonly uuid: KeyUuid;
  readonly passphrase: Secret;
}

/** Writes a copy of a header back with what opens it; whoever calls holds the lock of the key. */
export async function putBack(
  { volume, backend, copy, uuid, passphrase }: LostHeader,
  keyslots: Keyslots,
  container: Container | undefined,
): Promise<void> {
  await refuseGuests({ volume, uuid }, container);
  const saved = `${copy.origin}.overwritten-${Date.now()}`;
  let kept = "";
  const keep = (overwritten: Buffer) => {
    createNew(saved, overwritten);
    kept = `; what was left of the former one is in ${saved}`;
  };
  const request = { volume, backend, passphrase, keep, copy: copy.bytes, origin: copy.origin };
  const outcome = await restoreHeader(request, keyslots);
  if (outcome === "unchanged") print(`${volumeName(volume)} has this very header`);
  else print(`${volumeName(volume)}: the LUKS header was put back${kept}`);
}

/** Where the host manager cannot be asked, it may be what is lost. @throws GUEST_RUNNING, VOLUME_NOT_EMPTY */
async function refuseGuests(
  target: { readonly volume: Volume; readonly uuid: KeyUuid },
  container: Container | undefined,
): Promise<void> {
  try {
    if (container !== undefined) await refuseUsed(container.resolve(HOST), target);
  } catch (thrown) {
    const { code, message } = asLuksmithError(thrown);
    if (code === "GUEST_RUNNING" || code === "VOLUME_NOT_EMPTY") throw thrown;
    process.stderr.write(`warning: nobody can tell whether a guest has the volume: ${message}\n`);
  }
}
