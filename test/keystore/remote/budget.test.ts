import { describe, expect, it } from "vitest";
import { Budget, repeating } from "../../../src/keystore/remote/budget.js";

describe("the budget of an operation", () => {
  it("runs out, and its signal says so", async () => {
    const budget = new Budget(60);
    expect(budget.left).toBeGreaterThan(0);
    expect(budget.signal.aborted).toBe(false);
    await budget.pause(10_000);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(budget.left).toBe(0);
    expect(budget.signal.aborted).toBe(true);
  });

  it("pauses half as long to half as long again, and never beyond its end", async () => {
    const start = performance.now();
    await new Budget(10_000).pause(100);
    const pause = performance.now() - start;
    expect(pause).toBeGreaterThan(45);
    expect(pause).toBeLessThan(400);
    const late = performance.now();
    await new Budget(30).pause(10_000);
    expect(performance.now() - late).toBeLessThan(1000);
  });
});

describe("repeating", () => {
  const failing = (failures: number) => {
    let count = 0;
    const attempt = () =>
      ++count > failures ? Promise.resolve(count) : Promise.reject(new Error(`failure ${count}`));
    return attempt;
  };

  it("gives the result of the first attempt that succeeds", async () => {
    expect(await repeating(new Budget(10_000), failing(0), () => true)).toBe(1);
    expect(await repeating(new Budget(10_000), failing(2), () => true)).toBe(3);
  });

  it("throws what the third attempt threw", async () => {
    await expect(repeating(new Budget(10_000), failing(9), () => true)).rejects.toThrow("failure 3");
  });

  it("does not repeat what another attempt would not help", async () => {
    await expect(repeating(new Budget(10_000), failing(9), () => false)).rejects.toThrow("failure 1");
  });

  it("does not repeat when there is no time left for it", async () => {
    await expect(repeating(new Budget(150), failing(9), () => true)).rejects.toThrow("failure 1");
  });
});
