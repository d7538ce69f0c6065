import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** 256 random bits, as 43 characters that need no escape in a URL, a header or a cookie. */
export function randomText(): string {
  return randomBytes(32).toString("base64url");
}

/** What is kept of a secret that was given away: enough to know it again. */
export class SecretDigest {
  readonly #digest: Buffer;

  constructor(secret: string) {
    this.#digest = digestOf(secret);
  }

  /** Takes the same time wherever the texts differ. */
  matches(text: string): boolean {
    return timingSafeEqual(this.#digest, digestOf(text));
  }
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
