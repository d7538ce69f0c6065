import { closeSync, openSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { lockDescriptor } from "../../src/fs/file-lock.js";
import { temporaryDirectory } from "./tree.js";

const runner = new ExecaCommandRunner();

describe("a lock on a descriptor", () => {
  it("keeps others out until the descriptor is closed", async () => {
    const directory = temporaryDirectory();
    const [first, second] = [openSync(directory, "r"), openSync(directory, "r")];
    expect(await lockDescriptor(first, { runner, patience: 1 })).toBe("locked");
    expect(await lockDescriptor(second, { runner, patience: 0 })).toBe("busy");
    closeSync(first);
    expect(await lockDescriptor(second, { runner, patience: 0 })).toBe("locked");
    closeSync(second);
  });

  it("is waited for", async () => {
    const directory = temporaryDirectory();
    const [first, second] = [openSync(directory, "r"), openSync(directory, "r")];
    await lockDescriptor(first, { runner, patience: 1 });
    const waiting = lockDescriptor(second, { runner, patience: 30 });
    closeSync(first);
    expect(await waiting).toBe("locked");
    closeSync(second);
  });
});
