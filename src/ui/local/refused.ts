import type { Refusal } from "./protocol.js";

/** A request that is not done; the message is a sentence for people. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly refusal: Refusal,
    message: string,
    /** For the answer, besides those that each answer has. */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = "Refused";
  }
}
