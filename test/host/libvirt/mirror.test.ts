import { describe, expect, test } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { LibvirtMirror } from "../../../src/host/libvirt/mirror.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { domainXml } from "../../lab/test-domain.js";
import { RecordingRunner } from "./recording-runner.js";

const [OURS, THEIRS] = ["5afe9aab-0794-45bc-8958-b5600a7a36a0", "6e2b6f9a-6f5c-4f0d-9c43-6a2f1c1b7d10"];
const MARK = "<luksmith:paused xmlns:luksmith='urn:luksmith:paused:1'/>";
const OLD =
  "<disk type='file' device='disk'><source file='/old.raw'/><target dev='vda' bus='virtio'/></disk>";
const guest = { id: OURS, name: "web1" };

function mirrorOf(runner: RecordingRunner): LibvirtMirror {
  return new LibvirtMirror(
    new Virsh("qemu:///system", runner),
    new VolumeLocks(new ExecaCommandRunner(), temporaryDirectory()),
  );
}

function answer(uuid: string, state: string, metadata = ""): { stdout: string } {
  return { stdout: `${uuid}\n\n${state}\n\n${domainXml({ name: "web1", devices: OLD, metadata })}\n` };
}

describe("what libvirt copies", () => {
  test("has ended with a guest that stops between two questions", async () => {
    const error = "error: Requested operation is not valid: domain is not running\n";
    const torn = { ...answer(OURS, "running"), stderr: error, exitCode: 1 };
    expect(await mirrorOf(new RecordingRunner(torn, { stdout: `${THEIRS}\n` })).look(guest, "vda")).toEqual({
      kind: "stopped",
    });
    const still = mirrorOf(new RecordingRunner(torn, { stdout: `${OURS}\n` })).look(guest, "vda");
    await expect(still).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
  });
});

describe("guests that are paused", () => {
  test("are ours where the mark says so", async () => {
    const runner = new RecordingRunner(
      { stdout: `${OURS} web1          \n${THEIRS} another guest \n\n` },
      answer(OURS, "paused", MARK),
      answer(THEIRS, "paused"),
    );
    expect(await mirrorOf(runner).pausedGuests()).toEqual([guest]);
    expect(runner.scripts[0]).toBe("list --state-paused --uuid --name");
  });

  test("run again under the lock that virsh keeps until it has ended", async () => {
    const found = answer(OURS, "paused", MARK);
    const runner = new RecordingRunner(found, found, {});
    expect(await mirrorOf(runner).wake(guest)).toBe("woken");
    expect(runner.scripts.at(-1)).toMatch(/^resume --domain .*; metadata --domain .* --live --remove$/);
    expect(runner.commands.map(({ fds = [] }) => fds.length)).toEqual([0, 1, 1]);
  });

  test("stay paused without the mark", async () => {
    const runner = new RecordingRunner(answer(OURS, "paused"));
    expect(await mirrorOf(runner).wake(guest)).toBe("not needed");
  });
});
