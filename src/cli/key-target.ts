import type { Container } from "../di.js";
import { createKeyring } from "../keystore/index.js";
import type { Target } from "../keystore/transfer/target.js";
import { COMMAND_RUNNER, KEYRING, SETTINGS } from "../tokens.js";
import { handedOver } from "./token-file.js";

/** A keystore of the settings that keys are brought to, with a second instance of it. @throws KEYSTORE_UNKNOWN */
export async function targetNamed(name: string, container: Container): Promise<Target> {
  const keystore = await container.resolve(KEYRING).get(name);
  const resources = { runner: container.resolve(COMMAND_RUNNER), ...handedOver() };
  const witnesses = createKeyring(container.resolve(SETTINGS), resources);
  return { keystore, witness: await witnesses.get(name) };
}
