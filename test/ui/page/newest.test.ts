import { expect, it } from "vitest";
import { Newest } from "../../../src/ui/page/guests/newest.js";

it("an answer that comes after a newer question is not handed on, be it good or bad", async () => {
  const newest = new Newest();
  const outcomes = ["slow", "failing", "quick"].map((kind) => newest.outcomeOf(answer(kind)));
  expect(await Promise.all(outcomes)).toEqual([undefined, undefined, { ok: true, value: "quick" }]);
});

it("an answer that nobody has overtaken is handed on, each time", async () => {
  const newest = new Newest();
  expect(await newest.outcomeOf(Promise.resolve(1))).toEqual({ ok: true, value: 1 });
  const failure = new Error("away");
  expect(await newest.outcomeOf(Promise.reject(failure))).toEqual({ ok: false, failure });
});

async function answer(kind: string): Promise<string> {
  // a few turns later than the quick one
  for (let turn = 0; turn < 20 && kind !== "quick"; turn += 1) await Promise.resolve();
  if (kind === "failing") throw new Error(kind);
  return kind;
}
