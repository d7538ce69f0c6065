import { expect, test } from "vitest";
import { parseRequest, SECTIONS } from "./section.js";

test("measures everything unless sections are named", () => {
  expect(parseRequest([])).toEqual({ kind: "run", sections: SECTIONS, json: false });
  expect(parseRequest(["--json", "unlocking"])).toEqual({ kind: "run", sections: ["unlocking"], json: true });
});

test("keeps the sections' own order, each once", () => {
  expect(parseRequest(["tuning", "hooks", "tuning"])).toMatchObject({ sections: ["hooks", "tuning"] });
});

test("lists the sections", () => {
  expect(parseRequest(["--list"])).toEqual({ kind: "list" });
});

test.each([
  ["new disks", "unknown section new disks"],
  ["toString", "unknown section toString"],
  ["--jsno", "unknown option --jsno"],
  ["--json=1", "unknown option --json=1"],
  ["-j", "unknown option -j"],
])("refuses %s", (argument, what) => {
  expect(parseRequest(["hooks", argument])).toEqual({ kind: "refused", what });
});
