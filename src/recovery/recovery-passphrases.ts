import {
  newRecoveryPassphrase,
  parseRecoveryPassphrase,
  printed,
  type TypedPassphrase,
} from "../keystore/file/recovery-passphrase.js";
import { encryptFor } from "../keystore/transfer/age.js";
import { Secret } from "../secret/secret.js";
import type { RecoveryPassphrase } from "./recovery-entry.js";

/** A new passphrase for people, as it is printed: that very text opens the keyslot, with `cryptsetup` as well. */
export function newPrintedPassphrase(): Secret {
  using characters = newRecoveryPassphrase();
  return asPrinted(characters);
}

/** As `newPrintedPassphrase` made it, however somebody typed it. Wipes `typed`. */
export function parsePrintedPassphrase(typed: Buffer): TypedPassphrase {
  const parsed = parseRecoveryPassphrase(typed);
  if (parsed.kind === "mistyped") return parsed;
  using characters = parsed.passphrase;
  return { kind: "passphrase", passphrase: asPrinted(characters) };
}

/** 512 random bits in an escrow file: `age -d` gives out what `cryptsetup --key-file -` takes. */
export async function newPassphraseFor(recipients: readonly string[]): Promise<RecoveryPassphrase> {
  const passphrase = Secret.randomPassphrase();
  try {
    const file = await encryptFor(recipients, passphrase, "armor");
    return { passphrase, holder: { kind: "recipients", recipients, file } };
  } catch (thrown) {
    passphrase.dispose();
    throw thrown;
  }
}

function asPrinted(characters: Secret): Secret {
  const line = printed(characters);
  const text = Buffer.from(line.subarray(0, -1));
  line.fill(0);
  return Secret.own(text);
}
