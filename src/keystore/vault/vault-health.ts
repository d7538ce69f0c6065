import { LuksmithError } from "../../error/luksmith-error.js";
import type { Budget } from "../remote/budget.js";
import { badAnswer } from "../remote/failures.js";
import { objectOf, type VaultClient } from "./vault-client.js";

/** What `sys/health` means where it means that nothing can be asked: why, and what to do. */
const TROUBLES: Readonly<Record<number, readonly [why: string, hint: string]>> = {
  472: [
    "it is a secondary for disaster recovery, which answers nobody (472)",
    "use the address of the primary cluster, or promote this one",
  ],
  501: ["it is not initialized (501)", "vault operator init, or bao operator init"],
  503: ["it is sealed (503)", "unseal it: vault operator unseal, or bao operator unseal"],
  530: ["its node was removed from its cluster (530)", "use the address of another node"],
};
/** Active; a standby, which asks the active node; a standby that answers itself. */
const USABLE = new Set([200, 429, 473]);

/** Sees that the server can answer at all. @throws KEYSTORE_UNAVAILABLE, KEYSTORE_ANSWER_INVALID */
export async function checkHealth(client: VaultClient, budget: Budget): Promise<void> {
  const { status, body } = await client.health(budget);
  const trouble = TROUBLES[status];
  if (trouble !== undefined) {
    const [why, hint] = trouble;
    throw new LuksmithError("KEYSTORE_UNAVAILABLE", {
      what: `keystore ${client.place.name} does not answer`,
      why: `${client.place.address}: ${why}`,
      hint,
    });
  }
  if (!USABLE.has(status) || typeof objectOf(body)?.["initialized"] !== "boolean") {
    throw badAnswer(client.place, `status ${status} for sys/health`);
  }
}
