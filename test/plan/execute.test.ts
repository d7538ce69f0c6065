import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { execute, type Performer } from "../../src/plan/execute.js";
import type { Step } from "../../src/plan/step.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { uuid } from "./builders.js";

const step = (n: number): Step => ({
  kind: "withdraw-secrets",
  secrets: [{ disk: `vd${n}`, uuid: uuid(n) }],
});
const nameOf = (s: Step) => (s.kind === "withdraw-secrets" ? (s.secrets[0]?.disk ?? "") : s.kind);

/** Writes down what it does and undoes; fails where told to. */
function performer(failing: Record<string, string> = {}, failingUndo: string[] = []) {
  const journal: string[] = [];
  const perform: Performer["perform"] = async (s) => {
    const name = nameOf(s);
    await Promise.resolve();
    if (failing[name] !== undefined) throw new LuksmithError("TOOL_FAILED", { what: failing[name] });
    journal.push(`did ${name}`);
    return async () => {
      await Promise.resolve();
      if (failingUndo.includes(name)) throw new Error(`cannot undo ${name}`);
      journal.push(`undid ${name}`);
    };
  };
  return { journal, perform };
}

describe("execute", () => {
  it("does the stages in order", async () => {
    const p = performer();
    await execute({ stages: [[step(1), step(2)], [step(3)]] }, p, new RecordingLogger());
    expect(p.journal).toEqual(["did vd1", "did vd2", "did vd3"]);
  });

  it("undoes in reverse what was done when a later stage fails, and throws the failure", async () => {
    const p = performer({ vd3: "third failed" });
    const run = execute({ stages: [[step(1)], [step(2)], [step(3)], [step(4)]] }, p, new RecordingLogger());
    await expect(run).rejects.toMatchObject({ code: "TOOL_FAILED", message: "third failed" });
    expect(p.journal).toEqual(["did vd1", "did vd2", "undid vd2", "undid vd1"]);
  });

  it("undoes the steps of a stage at once, for one may wait long", async () => {
    const journal: string[] = [];
    let together = 0;
    const performer: Performer = {
      perform: (done) =>
        done.kind === "format"
          ? Promise.reject(new LuksmithError("TOOL_FAILED", { what: "no" }))
          : Promise.resolve(async () => {
              together++;
              await setTimeout(20);
              journal.push(`${together} at once`);
            }),
    };
    const failing = { ...step(9), kind: "format" } as unknown as Step;
    const plan = { stages: [[step(1), step(2), step(3)], [failing]] };
    await expect(execute(plan, performer, new RecordingLogger())).rejects.toThrow("no");
    expect(journal).toEqual(["3 at once", "3 at once", "3 at once"]);
  });

  it("awaits the steps beside a failed one and undoes them too", async () => {
    const p = performer({ vd1: "first failed" });
    await expect(execute({ stages: [[step(1), step(2)]] }, p, new RecordingLogger())).rejects.toThrow(
      "first failed",
    );
    expect(p.journal).toEqual(["did vd2", "undid vd2"]);
  });

  it("goes on undoing when one undo fails, logs it, and still throws the first error", async () => {
    const p = performer({ vd3: "third failed" }, ["vd2"]);
    const logger = new RecordingLogger();
    await expect(execute({ stages: [[step(1)], [step(2)], [step(3)]] }, p, logger)).rejects.toThrow(
      "third failed",
    );
    expect(p.journal).toEqual(["did vd1", "did vd2", "undid vd1"]);
    expect(logger.errors.map(({ fields }) => fields.error?.why)).toEqual(["cannot undo vd2"]);
  });

  it("starts no further step of a stage after a failure", async () => {
    const p = performer({ vd0: "failed" });
    const many = Array.from({ length: 200 }, (_, n) => step(n));
    await expect(execute({ stages: [many] }, p, new RecordingLogger())).rejects.toThrow("failed");
    expect(p.journal.filter((line) => line.startsWith("did")).length).toBeLessThan(150);
  });
});
