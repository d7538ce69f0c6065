import type { Keyslots } from "../encryption/keyslots.js";
import { LuksmithError } from "../error/luksmith-error.js";
import type { HeaderVault } from "../headers/header-vault.js";
import type { Keyring } from "../keystore/keyring.js";
import type { Key } from "../keystore/keystore.js";
import { keyslotsIn } from "./keyslot-identity.js";
import type { RecoverableDisk } from "./recoverable-disk.js";
import { recoveryOf } from "./recovery-entry.js";

interface Ports {
  readonly keyslots: Pick<Keyslots, "find">;
  readonly keyring: Pick<Keyring, "former">;
  readonly vault: Pick<HeaderVault, "backups" | "read">;
}

interface Removal {
  readonly disk: RecoverableDisk;
  readonly keyslot: number;
  readonly which: "recovery" | "unknown";
  readonly header: Buffer;
}

/** @throws USAGE for a keyslot that is something else than it is said to be */
export async function requireRemovable(
  { disk, keyslot, which, header }: Removal,
  { record, passphrase }: Key,
  { keyslots, keyring, vault }: Ports,
): Promise<void> {
  const isRecorded = recoveryOf(record).some((entry) => entry.keyslot === keyslot);
  if (which === "recovery") {
    if (isRecorded) return;
    const known = recoveryOf(record).map((entry) => entry.keyslot);
    throw refused(
      disk,
      `keyslot ${keyslot} is no recovery keyslot`,
      known.length === 0 ? "it has none" : `it has ${known.join(", ")}`,
    );
  }
  if (!keyslotsIn(header).has(keyslot) && !isInCopies(disk, keyslot, vault))
    throw refused(disk, `keyslot ${keyslot} is not in use`, "luksmith header show tells which are");
  if (isRecorded)
    throw refused(disk, `keyslot ${keyslot} is a recovery keyslot`, "to destroy it, leave --unknown out");
  if ((await keyslots.find(header, passphrase, keyslot)) !== undefined)
    throw refused(disk, `keyslot ${keyslot} is its key's own`, "luksmith rotate replaces it");
  const formers = await keyring.former(disk.uuid);
  try {
    for (const former of formers)
      if ((await keyslots.find(header, former.passphrase, keyslot)) !== undefined)
        throw refused(disk, `keyslot ${keyslot} is a former passphrase's`, "luksmith rotate takes it away");
  } finally {
    for (const former of formers) former.passphrase.dispose();
  }
}

/** A call that was killed may have left them. */
function isInCopies({ uuid }: RecoverableDisk, keyslot: number, vault: Ports["vault"]): boolean {
  return vault.backups(uuid).some((copy) => keyslotsIn(vault.read(copy)).has(keyslot));
}

function refused({ guest, disk }: RecoverableDisk, why: string, hint: string): LuksmithError {
  return new LuksmithError("USAGE", {
    what: `cannot destroy that keyslot of disk ${disk} of guest ${guest.name}`,
    why,
    hint,
  });
}
