import { asLuksmithError } from "../error/luksmith-error.js";
import type { Keyslots } from "../encryption/keyslots.js";
import type { KeyUuid } from "../keystore/key-uuid.js";
import { decryptWith } from "../keystore/transfer/age.js";
import type { Secret } from "../secret/secret.js";
import { type DrillCheck, failed, failedBy, ok, warning } from "./drill-check.js";
import type { EscrowFiles } from "./escrow-files.js";

export interface EscrowPorts {
  readonly files: EscrowFiles;
  readonly keyslots: Keyslots;
  /** An identity file of age, for the escrow files; without it they are not opened. */
  readonly identity?: Secret;
}

/** Whether the escrow file opens its keyslot. @param header of the volume, or of a copy that would be put back */
export async function escrowCheck(
  { uuid, keyslot, header }: { readonly uuid: KeyUuid; readonly keyslot: number; readonly header: Buffer },
  { files, identity, keyslots }: EscrowPorts,
): Promise<DrillCheck> {
  const path = files.path(uuid, keyslot);
  try {
    const file = files.read(uuid, keyslot);
    if (file === undefined) return warning("escrow file", `${path} is not there; is it kept elsewhere?`);
    if (identity === undefined)
      return warning("escrow file", `${path} is there, and was not tried`, "--identity FILE tries it");
    using passphrase = await decryptWith(identity, file);
    if ((await keyslots.find(header, passphrase, keyslot)) === keyslot)
      return ok("escrow file", `${path} opens keyslot ${keyslot}`);
    return failed("escrow file", `what ${path} holds does not open keyslot ${keyslot}`);
  } catch (thrown) {
    return failedBy("escrow file", asLuksmithError(thrown));
  }
}
