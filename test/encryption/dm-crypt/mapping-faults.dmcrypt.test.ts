import { spawn } from "node:child_process";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DmCryptMappings } from "../../../src/encryption/dm-crypt/dm-crypt-mappings.js";
import type { MappingRequest } from "../../../src/encryption/encryption-provider.js";
import { ExecaCommandRunner, type Command } from "../../../src/exec/command-runner.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { DmDevice, type Target } from "../../lab/device-mapper.js";
import { codeOf } from "../../storage/workshop.js";
import { mapper, MappingLab, mappingNames, read, SIZE, write } from "./mapping-lab.js";

/** Has less patience with a tool, so that a test has enough. */
class HastyCommandRunner extends ExecaCommandRunner {
  override run(command: Command) {
    return super.run({ ...command, timeout: 1500 });
  }
}

let lab: MappingLab;
let runner: RecordingCommandRunner;
let mappings: DmCryptMappings;
let device: DmDevice;
let request: MappingRequest;
let sound: Extract<Target, { kind: "linear" }>;
beforeEach(() => {
  lab = new MappingLab();
  runner = new RecordingCommandRunner(new HastyCommandRunner());
  mappings = new DmCryptMappings(runner, lab.places);
  sound = { kind: "linear", size: SIZE, device: lab.makeDevice().path };
  device = new DmDevice(sound);
  request = lab.make("block", "luks", { volume: { kind: "block", path: device.path, format: "raw" } });
});
afterEach(() => {
  device.become(sound);
  lab.closeAll();
  device[Symbol.dispose]();
  lab[Symbol.dispose]();
});

const open = () => mappings.open(request, lab.passphrase);

describe("a volume", () => {
  it("that cannot be read is not opened, and can be once it is well", async () => {
    device.become({ kind: "error", size: SIZE });
    expect(await codeOf(open())).toBe("VOLUME_UNREADABLE");
    expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
    device.become(sound);
    await open();
  });

  it("of which only the keyslots cannot be read is not opened", async () => {
    device.become({ ...sound, size: 4096 }, { kind: "error", size: SIZE - 4096 });
    expect(await codeOf(open())).toBe("TOOL_FAILED");
    expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
  });

  it("that does not answer keeps nobody waiting for ever", async () => {
    device.suspend("noflush");
    expect(await codeOf(open())).toBe("TOOL_TIMEOUT");
    expect(lab.claimFiles()).toEqual([]);
    device.resume();
    await open();
  });

  it("that stops answering in the middle leaves what the reaper closes", async () => {
    runner.before = ({ args }) => {
      if (args[0] === "open") device.suspend("noflush");
    };
    expect(await codeOf(open())).toBe("TOOL_TIMEOUT");
    expect(lab.mappings.claims()).toMatchObject([{ name: request.name }]);
    runner.before = () => undefined;
    device.resume();
    await expect.poll(() => mappings.close(request.name), { timeout: 20_000 }).toEqual({ kind: "closed" });
    expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
    await open();
  });
});

describe("an open mapping", () => {
  it("is closed when its volume fails", async () => {
    await open();
    write(mapper(request.name), "plain text");
    device.become({ kind: "error", size: SIZE });
    expect(await mappings.close(request.name)).toEqual({ kind: "closed" });
    expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
  });

  it("is closed when its volume fails writes now and then, after which it opens with what was written before", async () => {
    await open();
    write(mapper(request.name), "plain text");
    const fd = openSync(mapper(request.name), "r+");
    device.become({ ...sound, kind: "flakey", up: 0, down: 60, features: ["error_writes"] });
    writeSync(fd, "other text", 4096);
    expect(() => fsyncSync(fd)).toThrow("EIO");
    closeSync(fd);
    expect(await mappings.close(request.name)).toEqual({ kind: "closed" });
    device.become(sound);
    await open();
    expect(read(mapper(request.name), 10)).toBe("plain text");
  });

  it("whose volume does not answer keeps nobody waiting for ever, and is closed once it does", async () => {
    await open();
    // in a process of its own: it waits as well
    const writer = spawn("sh", ["-c", `echo plain text >"$0"`, mapper(request.name)], { stdio: "ignore" });
    device.suspend("noflush");
    expect(await codeOf(mappings.close(request.name))).toBe("TOOL_TIMEOUT");
    expect(lab.mappings.claims()).toMatchObject([{ name: request.name }]);
    device.resume();
    await expect.poll(() => mappings.close(request.name), { timeout: 20_000 }).toEqual({ kind: "closed" });
    writer.kill();
  });

  it("that is suspended itself is closed", async () => {
    await open();
    lab.suspend(request.name);
    expect(await mappings.close(request.name)).toEqual({ kind: "closed" });
    expect([mappingNames(), lab.claimFiles()]).toEqual([[], []]);
  });
});
