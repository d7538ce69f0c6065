import { expect, test } from "vitest";
import { renderFindings, verdict } from "./report.js";
import { byteRow, row } from "./row.js";

const side = (name: string, ...milliseconds: number[]) => ({ name, milliseconds });

test("a ratio is that of each round's own two times", () => {
  const slow = row(side("a", 10, 200, 30), side("b", 10, 100, 10));

  expect(slow.ratio).toEqual({ median: 2, min: 1, max: 3 });
  expect(slow.scale).toEqual({ unit: "ms", subject: 30, baseline: 10 });
});

test("says by how much a target is missed", () => {
  expect(verdict(row(side("a", 60), side("b", 10), 4))).toBe("MISSED by 50 %");
  expect(verdict(row(side("a", 40), side("b", 10), 4))).toBe("met");
  expect(verdict(row(side("a", 40), side("b", 10)))).toBe("");
});

test("shows bytes as bytes, and no table of memory where none was measured", () => {
  const report = renderFindings({ rows: [byteRow(["disk", [3000]], ["header", [2000]])], memory: [] });

  expect(report.split("\n")).toHaveLength(2);
  expect(report).toMatch(/^disk +header +1\.5× +1\.5× to 1\.5× +1 +3000 : 2000 bytes$/m);
});
