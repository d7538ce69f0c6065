import { performance } from "node:perf_hooks";
import { asLuksmithError, LuksmithError } from "../error/luksmith-error.js";
import { canTest, type Keystore, type KeystoreCheck } from "../keystore/keystore.js";

/** Seconds after which nobody waits any more, whatever a keystore promises about its own time limits. */
const PATIENCE = 60;

/** What a keystore's test has shown. */
export interface Trial {
  /** What was found to work, in this order. */
  readonly checks: readonly KeystoreCheck[];
  /** What was found not to; undefined if all is well. */
  readonly error: LuksmithError | undefined;
  readonly seconds: number;
}

/**
 * Tests a keystore within a bounded time. Never throws: what `make` throws is an answer too.
 * @param passed hears of each check as it has passed
 */
export async function tryKeystore(
  make: () => Promise<Keystore>,
  patience = PATIENCE,
  passed?: (check: KeystoreCheck) => void,
): Promise<Trial> {
  const checks: KeystoreCheck[] = [];
  const start = performance.now();
  const finish = (error: LuksmithError | undefined): Trial => ({
    checks: [...checks],
    error,
    seconds: Math.round(performance.now() - start) / 1000,
  });
  const test = async () => {
    const keystore = await make();
    if (!canTest(keystore)) return;
    await keystore.test((check) => {
      checks.push(check);
      passed?.(check);
    });
  };
  const clock = new AbortController();
  try {
    await Promise.race([test(), overAfter(patience, clock.signal)]);
    return finish(undefined);
  } catch (thrown) {
    return finish(asLuksmithError(thrown));
  } finally {
    clock.abort();
  }
}

/** `reached, TLS in 0.31 s`, or `0.31 s` where nothing was found to work. */
export function describeTrial({ checks, seconds }: Trial): string {
  const time = `${seconds.toFixed(2)} s`;
  return checks.length === 0 ? time : `${checks.join(", ")} in ${time}`;
}

async function overAfter(seconds: number, signal: AbortSignal): Promise<never> {
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => clearTimeout(timer));
  });
  throw new LuksmithError("KEYSTORE_UNAVAILABLE", {
    what: "the keystore gave no answer",
    why: `its test did not end within ${seconds} s`,
  });
}
