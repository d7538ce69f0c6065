import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, it } from "vitest";

const MODULE = JSON.stringify(resolve("src/cli/quiet-x25519.ts"));

it("keeps Node from warning of age's key exchange, and of nothing else", () => {
  // as Node 20.19 does it by itself, and later ones do not
  const script = `const { quietX25519 } = await import(${MODULE});
    quietX25519();
    const text = "The X25519 Web Crypto API algorithm is an experimental feature and might change at any time";
    process.emitWarning(text, "ExperimentalWarning");
    process.emitWarning("of somebody else", "ExperimentalWarning");`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const { stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(stderr).not.toContain("X25519");
  expect(stderr).toContain("ExperimentalWarning: of somebody else");
});
