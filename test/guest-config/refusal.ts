import { LuksmithError } from "../../src/error/luksmith-error.js";

/** What `act` refuses with; a test that gets no refusal fails. */
export function refusalOf(act: () => unknown): LuksmithError {
  try {
    act();
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}
