import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { changesBetween, withChanges } from "../../../src/ui/form/changes.js";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import { type Json, sameJson } from "../../../src/ui/form/json.js";
import { merge } from "../../../src/ui/form/merge.js";

const FORM = settingsForm();
const BASE = {
  version: 1,
  logLevel: "info",
  keystores: [
    { name: "local", type: "file" },
    { name: "vault", type: "vault", timeout: 8 },
  ],
  rules: [{ name: "a" }, { name: "b" }, { name: "c" }],
};

const item = fc.record({ encrypt: fc.boolean(), tag: fc.constantFrom("x", "y") }, { requiredKeys: [] });
const rules = fc
  .uniqueArray(fc.constantFrom("a", "b", "c", "d", "e"), { minLength: 1 })
  .chain((names) => fc.tuple(...names.map((name) => item.map((values) => ({ name, ...values })))));
const SETTINGS: fc.Arbitrary<Json> = fc
  .record(
    {
      version: fc.constant(1),
      logLevel: fc.constantFrom("info", "warn"),
      rules,
      headers: fc.record({ keep: fc.nat(5) }),
    },
    { requiredKeys: ["version"] },
  )
  .map((settings) => JSON.parse(JSON.stringify(settings)) as Json);

describe("changes", () => {
  it("between two settings make the one of the other", () => {
    fc.assert(
      fc.property(SETTINGS, SETTINGS, (before, after) => {
        expect(sameJson(withChanges(before, changesBetween(FORM, before, after)), after)).toBe(true);
      }),
    );
  });

  it("are none between settings that say the same", () => {
    expect(changesBetween(undefined, { a: 1, b: [2] }, { b: [2], a: 1 })).toEqual([]);
  });
});

describe("merge", () => {
  it("is mine where nobody else changed anything, and theirs where I did not", () => {
    fc.assert(
      fc.property(SETTINGS, SETTINGS, (base, edited) => {
        expect(sameJson(merge(FORM, { base, mine: edited, theirs: base }).withAll, edited)).toBe(true);
        expect(sameJson(merge(FORM, { base, mine: base, theirs: edited }).withAll, edited)).toBe(true);
        expect(merge(FORM, { base, mine: edited, theirs: edited }).mine).toEqual([]);
      }),
    );
  });

  it("has both, where they touch different things", () => {
    const mine = { ...BASE, keystores: [BASE.keystores[0]!, { name: "vault", type: "vault", timeout: 20 }] };
    const theirs = { ...BASE, logLevel: "debug", rules: [...BASE.rules, { name: "d" }] };
    const { overlapping, withAll } = merge(FORM, { base: BASE, mine, theirs });
    expect(overlapping).toEqual([]);
    expect(withAll).toEqual({ ...theirs, keystores: mine.keystores });
  });

  it("has both, where both began to say something of one group", () => {
    const mine = { ...BASE, headers: { keep: 7 } };
    const theirs = { ...BASE, headers: { directory: "/h" } };
    const { overlapping, withAll } = merge(FORM, { base: BASE, mine, theirs });
    expect(overlapping).toEqual([]);
    expect(withAll).toEqual({ ...BASE, headers: { directory: "/h", keep: 7 } });
  });

  it("mixes nothing of two ways to authenticate", () => {
    const withAuth = (auth: Json) => ({ ...BASE, keystores: [{ name: "v", type: "vault", auth }] });
    const base = withAuth({ method: "token", tokenFile: "/t" });
    const mine = withAuth({ method: "approle", roleId: "r" });
    const theirs = withAuth({ method: "token", tokenFile: "/other" });
    const { overlapping, withAll } = merge(FORM, { base, mine, theirs });
    expect(overlapping).toHaveLength(1);
    expect(withAll).toEqual(mine);
  });

  it("finds my rule again, though others have moved it", () => {
    const mine = { ...BASE, rules: [{ name: "a" }, { name: "b", tag: "x" }, { name: "c" }] };
    const theirs = { ...BASE, rules: [{ name: "b" }, { name: "a" }, { name: "c" }] };
    expect(merge(FORM, { base: BASE, mine, theirs })).toMatchObject({
      overlapping: [],
      withAll: { rules: [{ name: "b", tag: "x" }, { name: "a" }, { name: "c" }] },
    });
  });

  it("puts what I added behind what it was behind", () => {
    const mine = { ...BASE, rules: [{ name: "a" }, { name: "new" }, { name: "b" }, { name: "c" }] };
    const theirs = { ...BASE, rules: [{ name: "a", tag: "x" }, { name: "b" }, { name: "c" }] };
    expect(merge(FORM, { base: BASE, mine, theirs }).withAll).toMatchObject({
      rules: [{ name: "a", tag: "x" }, { name: "new" }, { name: "b" }, { name: "c" }],
    });
  });

  it.each([
    ["the same setting", { ...BASE, logLevel: "warn" }, { ...BASE, logLevel: "debug" }],
    [
      "an item that the other one removed",
      { ...BASE, keystores: [BASE.keystores[0]!, { name: "vault", type: "vault", timeout: 20 }] },
      { ...BASE, keystores: [BASE.keystores[0]!] },
    ],
    [
      "the order of a list, and what is in it",
      { ...BASE, rules: [{ name: "c" }, { name: "a" }, { name: "b" }] },
      { ...BASE, rules: [...BASE.rules, { name: "d" }] },
    ],
  ])("asks where both touched %s", (_, mine, theirs) => {
    const { overlapping, withAll, withoutOverlap } = merge(FORM, { base: BASE, mine, theirs });
    expect(overlapping).toHaveLength(1);
    expect(withoutOverlap).toEqual(theirs);
    expect(withAll).not.toEqual(theirs);
  });

  it("asks where I typed a secret and they replaced it, which only its file tells", () => {
    const withAuth = (auth: object) => ({
      ...{ version: 1, keystores: [{ name: "v", type: "vault", auth: { method: "token", ...auth } }] },
    });
    const base = withAuth({ tokenFile: "/secrets/v-token-1" });
    const mine = withAuth({ tokenFile: "/secrets/v-token-1", token: "mine" });
    const theirs = withAuth({ tokenFile: "/secrets/v-token-2" });
    const { overlapping, withoutOverlap, withAll } = merge(FORM, { base, mine, theirs });
    expect(overlapping).toHaveLength(1);
    expect(withoutOverlap).toEqual(theirs);
    expect(withAll).toEqual(withAuth({ tokenFile: "/secrets/v-token-2", token: "mine" }));
  });

  it("takes a place that only ends like the file of a secret for itself", () => {
    const mine = { ...BASE, logFile: "/l" };
    const theirs = { ...BASE, log: "x" };
    expect(merge(FORM, { base: BASE, mine, theirs }).overlapping).toEqual([]);
  });

  it.each([
    ["only that", { name: "safe", type: "vault", timeout: 8 }],
    ["and changed", { name: "safe", type: "vault", timeout: 20 }],
  ])("leaves out both halves of a rename of what they changed: renamed, %s", (_, renamed) => {
    const mine = { ...BASE, keystores: [BASE.keystores[0]!, renamed] };
    const theirs = { ...BASE, keystores: [BASE.keystores[0]!, { ...BASE.keystores[1]!, timeout: 9 }] };
    const { overlapping, withoutOverlap, withAll } = merge(FORM, { base: BASE, mine, theirs });
    expect(overlapping).toHaveLength(2);
    expect(withoutOverlap).toEqual(theirs);
    expect(withAll).toEqual(mine);
  });

  it("keeps what I added, though they changed what I removed", () => {
    const added = { name: "hsm", type: "kmip" };
    const mine = { ...BASE, keystores: [BASE.keystores[0]!, added] };
    const theirs = { ...BASE, keystores: [BASE.keystores[0]!, { ...BASE.keystores[1]!, timeout: 9 }] };
    const { withoutOverlap } = merge(FORM, { base: BASE, mine, theirs });
    expect(withoutOverlap).toMatchObject({
      keystores: [{ name: "local" }, { name: "hsm" }, { name: "vault" }],
    });
  });

  it("brings back as a whole what I changed and they removed, if mine is to hold", () => {
    const vault = { name: "vault", type: "vault", timeout: 20 };
    const mine = { ...BASE, keystores: [BASE.keystores[0]!, vault] };
    const theirs = { ...BASE, keystores: [BASE.keystores[0]!] };
    expect(merge(FORM, { base: BASE, mine, theirs }).withAll).toEqual(mine);
  });
});
