import { LuksmithError } from "../../error/luksmith-error.js";
import type { KeyUuid } from "../key-uuid.js";
import { quoted } from "../remote/failures.js";
import type { Consumer } from "./secret-entry.js";

export function corrupt(keystore: string, uuid: KeyUuid, why: string): LuksmithError {
  return new LuksmithError("KEY_CORRUPT", {
    what: `key ${uuid} of keystore ${keystore} is damaged`,
    why,
    hint: "docs/keystores/barbican.md tells how to read such a secret, and how to mend it",
  });
}

export function inUse(keystore: string, uuid: KeyUuid, others: readonly Consumer[]): LuksmithError {
  const users = others.map(({ service, resource_type, resource_id }) =>
    quoted(`${service} ${resource_type} ${resource_id}`),
  );
  return new LuksmithError("KEY_IN_USE", {
    what: `cannot delete key ${uuid} of keystore ${keystore}`,
    why: `others have registered that they use it: ${users.join(", ")}`,
    hint: "delete it there first; docs/keystores/barbican.md tells how a registration is taken away by hand",
  });
}
