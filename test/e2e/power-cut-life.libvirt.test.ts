import { expect, it } from "vitest";
import { CUTS, type Facts } from "./support/power-cut-life-machine.js";
import { throughPowerCuts } from "./support/power-cuts.js";

const TIMEOUT = 900_000;

it(
  "a power cut in the middle of encryption, decryption or a rotation of a logical volume loses no byte and no key",
  { timeout: TIMEOUT },
  async () => {
    const program = "test/e2e/support/power-cut-life-machine.ts";
    const facts = await throughPowerCuts<Facts>({ program, cuts: CUTS, timeout: TIMEOUT / 2 });

    const well = { opened: true, exitCode: 0, stderr: "", isSame: true, unfinished: [], left: [] };
    const [encrypted, decrypted, ...rotated] = facts;
    expect(encrypted).toEqual({ ...well, refused: true });
    expect(decrypted).toEqual({ ...well, refused: true });
    const generations = rotated.map(({ generation }) => generation ?? 1);
    for (const [index, { generation, ...seen }] of rotated.entries()) {
      expect(seen, `rotation ${index}`).toEqual({ ...well, refused: false });
      expect(generation ?? 1, `rotation ${index}`).toBeGreaterThan(generations[index - 1] ?? 1);
    }
  },
);
