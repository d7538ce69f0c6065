import { SecretDigest, randomText } from "./secret-digest.js";

/**
 * What opens the page, once. Nobody guesses 256 bits, however often; a limit would only let other users of the host
 * end the page of whoever has the token.
 */
export class OneTimeToken {
  readonly #digest: SecretDigest;
  #state: "fresh" | "used" = "fresh";

  private constructor(token: string) {
    this.#digest = new SecretDigest(token);
  }

  /** A new one, and its text, which is not kept. */
  static make(): { readonly text: string; readonly token: OneTimeToken } {
    const text = randomText();
    return { text, token: new OneTimeToken(text) };
  }

  /** taken: this was it, and it works no more. */
  take(text: string): "taken" | "wrong" | "used" {
    if (this.#state === "used") return "used";
    if (!this.#digest.matches(text)) return "wrong";
    this.#state = "used";
    return "taken";
  }
}
