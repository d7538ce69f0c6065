import type { ErrorCode } from "../../error/catalogue.js";
import type { LuksmithError } from "../../error/luksmith-error.js";

/** Keys in a row that failed over the keystore and not over themselves: the next ones would, after as long a wait. */
const PATIENCE = 3;
const ABOUT_THE_KEYSTORE: ReadonlySet<ErrorCode> = new Set([
  "KEYSTORE_UNAVAILABLE",
  "KEYSTORE_WRITE_FAILED",
  "KEYSTORE_AUTH_FAILED",
  "KEYSTORE_TLS_FAILED",
  "MASTER_KEY_UNUSABLE",
]);

/** Counts the keys in a row that a broken keystore has failed. */
export class Despair {
  #count = 0;

  get isComplete(): boolean {
    return this.#count >= PATIENCE;
  }

  add({ code }: LuksmithError): void {
    if (ABOUT_THE_KEYSTORE.has(code)) this.#count++;
  }

  end(): void {
    if (!this.isComplete) this.#count = 0;
  }
}
