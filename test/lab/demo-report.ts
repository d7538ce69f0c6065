import { demoOk, type DemoResult } from "../e2e/demo-result.js";
import type { Ended } from "./stage.js";
import { PASSED, type Tally } from "./tally.js";

/** One JSON object on stdout, nothing else, and all that it claims holds. @throws with what was printed instead */
export function checkDemo({ exitCode, stdout }: Ended): Tally {
  const result = parse(stdout);
  if (exitCode === 0 && result?.ok === true && demoOk(result)) return PASSED;
  throw new Error(
    `the demo (exit code ${exitCode}) printed no JSON object, or one whose claims do not all hold`,
  );
}

function parse(stdout: string): (DemoResult & { readonly ok: boolean }) | undefined {
  try {
    return JSON.parse(stdout) as DemoResult & { ok: boolean };
  } catch {
    return undefined;
  }
}
