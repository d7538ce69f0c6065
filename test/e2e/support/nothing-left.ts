import { expect } from "vitest";
import { leftoversOf } from "./leftovers.js";
import type { LuksmithHost } from "./luksmith-host.js";

/** The one check that every test with a host ends with: see `leftoversOf`. */
export async function expectNothingLeft(
  host: LuksmithHost,
  keepers?: readonly LuksmithHost[],
): Promise<void> {
  for (const [what, found] of Object.entries(await leftoversOf(host, keepers)))
    expect(found, what).toEqual([]);
}
