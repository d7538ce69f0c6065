import { LuksmithError } from "../../error/luksmith-error.js";

/** KEYSTORE_UNAVAILABLE of a keystore that said nothing at all, not even that it cannot: who asks next waits as long. */
export class NoAnswer extends LuksmithError {
  constructor(text: ConstructorParameters<typeof LuksmithError>[1]) {
    super("KEYSTORE_UNAVAILABLE", text);
  }
}
