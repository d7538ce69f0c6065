import { LuksmithError } from "../../../error/luksmith-error.js";
import type { KeyUuid } from "../../../keystore/key-uuid.js";
import type { Keyring } from "../../../keystore/keyring.js";
import type { Key } from "../../../keystore/keystore.js";
import type { ExportPlace } from "./export-place.js";

/** The caller disposes of the passphrase. @throws KEY_NOT_FOUND, and what keeps a keystore from answering */
export async function keyOf(
  uuid: KeyUuid,
  place: ExportPlace,
  { keyring }: { readonly keyring: Pick<Keyring, "locate"> },
): Promise<Key> {
  const location = await keyring.locate(uuid);
  switch (location.kind) {
    case "found":
      return location.key;
    case "unknown":
      throw new LuksmithError("KEY_NOT_FOUND", {
        what: `cannot open volume ${place.label}: it needs key ${uuid}`,
        why: "no keystore of the settings has it",
        hint: "restore the key, or import it: luksmith keys import",
      });
    case "unavailable":
      throw location.error.within(`cannot open volume ${place.label}`);
  }
}
