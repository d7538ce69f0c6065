import { describe, expect, it } from "vitest";
import type { ReapOutput } from "../../src/generated/reap.js";
import validate from "../../src/generated/validate-reap.cjs";
import type { Reaped } from "../../src/reap/reaper.js";
import { renderReaped } from "../../src/reap/render.js";
import { renderReapUnits, renderRotateUnits } from "../../src/host/reap-units.js";
import { luksmith } from "./luksmith.js";

const ID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
const UUID = "6e2b6f9a-6f5c-4f0d-9c43-6a2f1c1b7d10";
const MAPPING = `luksmith-vm1-${UUID}`;
const of = { guest: { id: ID, name: "web1" }, disk: "vda" };

const CASES: [string, Reaped][] = [
  [
    `withdrew host secret ${UUID} of disk vda of guest web1`,
    { kind: "host-secret", name: UUID, ...of, outcome: "cleaned" },
  ],
  [
    `withdrew host secret ${UUID} of disk vda of guest ${ID}`,
    { kind: "host-secret", name: UUID, guest: { id: ID }, disk: "vda", outcome: "cleaned" },
  ],
  [
    `left mapping ${MAPPING} of disk vda of guest web1: somebody has it open`,
    { kind: "mapping", name: MAPPING, ...of, outcome: "left", why: "somebody has it open" },
  ],
  [
    `would clean up mapping ${MAPPING} of disk vda of guest web1`,
    { kind: "mapping", name: MAPPING, ...of, outcome: "found" },
  ],
  ["settled the migration of guest web1", { kind: "arrival", name: ID, guest: of.guest, outcome: "cleaned" }],
  [
    `deleted former passphrase ${UUID} of disk vda of guest web1`,
    { kind: "former-key", name: UUID, ...of, outcome: "cleaned" },
  ],
  ["woke paused guest web1", { kind: "paused-guest", name: ID, guest: of.guest, outcome: "cleaned" }],
  ["would wake paused guest web1", { kind: "paused-guest", name: ID, guest: of.guest, outcome: "found" }],
  [`removed unreadable claim of mapping ${MAPPING}`, { kind: "claim", name: MAPPING, outcome: "cleaned" }],
];

describe("luksmith reap", () => {
  it.each(CASES)("says: %s", (line, reaped) => {
    expect(renderReaped(reaped)).toBe(line);
  });

  it("has all of it in its JSON", () => {
    const output: ReapOutput = { clean: false, leftovers: CASES.map(([, reaped]) => reaped) };
    expect(validate(output)).toBe(true);
    expect(validate({ clean: true, leftovers: [{ kind: "mapping" }] })).toBe(false);
  });

  it("is for root", () => {
    expect(luksmith(["reap"], { as: "nobody" })).toMatchObject({
      status: 6,
      stdout: "",
      stderr: expect.stringContaining("sudo luksmith reap") as string,
    });
  });

  it.each([
    ["reap --timer", renderReapUnits],
    ["rotate --all --due", renderRotateUnits],
  ])("and %s are what timers start, which every command line of ours must understand", (words, render) => {
    const target = { host: "libvirt", version: "0.1.0", node: "/usr/bin/node", cli: "/opt/x.js" } as const;
    const argv = /^ExecStart=.*"\/opt\/x\.js" (.*)$/m.exec(render(target).service)?.[1];
    expect(argv).toBe(words);
    // a usage that is not understood is another exit code
    expect(luksmith(words.split(" "), { as: "nobody" })).toMatchObject({ status: 6 });
    expect(luksmith([...words.split(" "), "--tmier"], { as: "nobody" }).status).not.toBe(6);
  });
});
