import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { problemOf } from "../error/problem.js";
import type { StatusOutput } from "../generated/status.js";
import type { Keyring } from "../keystore/keyring.js";
import { newKeyUuid } from "../keystore/key-uuid.js";
import { KEYRING, SETTINGS } from "../tokens.js";

type KeystoreStatus = NonNullable<StatusOutput["keystores"]>[number];

/** Whether each keystore of the settings answers: it is asked for a key that nobody has. */
export async function keystoreStatuses(container: Container): Promise<KeystoreStatus[]> {
  const keyring = container.resolve(KEYRING);
  const { keystores } = container.resolve(SETTINGS);
  return await Promise.all(keystores.map(({ name, type }) => ask(keyring, name, type)));
}

async function ask(keyring: Keyring, name: string, type: string): Promise<KeystoreStatus> {
  try {
    const keystore = await keyring.get(name);
    (await keystore.fetch(newKeyUuid()))?.passphrase.dispose();
    return { name, type, answers: true };
  } catch (thrown) {
    return { name, type, answers: false, problem: problemOf(asLuksmithError(thrown)) };
  }
}
