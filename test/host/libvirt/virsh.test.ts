import { afterEach, describe, expect, it, vi } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { textFile } from "../../../src/host/libvirt/text-file.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { RecordingRunner } from "./recording-runner.js";

const URI = "qemu:///system";

afterEach(() => vi.unstubAllEnvs());

describe("Virsh", () => {
  it("hands all commands to one process, and files by descriptor", async () => {
    const runner = new RecordingRunner({ stdout: "out" });
    using first = textFile("one");
    using second = textFile("two");
    const answer = await new Virsh(URI, runner).run(["define", first], ["list", "--all"], ["define", second]);
    expect(answer).toEqual({ stdout: "out", errors: [], stderr: "" });
    expect(runner.commands).toMatchObject([
      {
        tool: "virsh",
        args: ["-q", "-c", URI, "define /proc/self/fd/3; list --all; define /proc/self/fd/4"],
        files: ["one", "two"],
      },
    ]);
  });

  it.each(["a b", "a;b", "'", '"', "\\", "", "$x", "\n", "/etc/passwd"])(
    "never passes the word %j on",
    async (word) => {
      const runner = new RecordingRunner();
      await expect(new Virsh(URI, runner).run(["dumpxml", word])).rejects.toThrow();
      expect(runner.commands).toEqual([]);
    },
  );

  it.each([
    ["a b;c", "'a b;c'"],
    ["it's", String.raw`'it'\''s'`],
    [String.raw`\"$x`, String.raw`'\"$x'`],
  ])("quotes the text %j as virsh takes it", async (text, quoted) => {
    const runner = new RecordingRunner({});
    await new Virsh(URI, runner).run(["metadata", { text }]);
    expect(runner.scripts).toEqual([`metadata ${quoted}`]);
  });

  it("asks another libvirt", async () => {
    const runner = new RecordingRunner({});
    await new Virsh(URI, runner).at("qemu+ssh://b/system").run(["list"]);
    expect(runner.commands).toMatchObject([{ args: ["-q", "-c", "qemu+ssh://b/system", "list"] }]);
  });

  it("lets ssh have the caller's agent, and nothing else of the environment", async () => {
    vi.stubEnv("SSH_AUTH_SOCK", "/run/agent");
    vi.stubEnv("KRB5CCNAME", undefined);
    const runner = new RecordingRunner({});
    await new Virsh("qemu+ssh://b/system", runner).run(["list"]);
    expect(runner.commands[0]?.env).toEqual({ SSH_AUTH_SOCK: "/run/agent" });
  });

  it("tells a failure from stderr, because the exit code is that of the last command only", async () => {
    const stderr = "error: Failed to define\nerror: internal error: no\nsome warning\n";
    const runner = new RecordingRunner({ exitCode: 0, stderr });
    const answer = await new Virsh(URI, runner).run(["secret-list"]);
    expect(answer).toEqual({ stdout: "", errors: ["Failed to define", "internal error: no"], stderr });
  });

  it("tells a failure without a message", async () => {
    const { errors } = await new Virsh(URI, new RecordingRunner({ exitCode: 1 })).run(["secret-list"]);
    expect(errors).toHaveLength(1);
  });

  it.each([
    ["is not there", "error: failed to connect to the hypervisor\nerror: Failed to connect socket to '/x'"],
    [
      "went away",
      "error: Disconnected from qemu:///system due to end of file\nerror: End of file while reading data",
    ],
  ])("says that libvirt %s", async (_, stderr) => {
    const virsh = new Virsh(URI, new RecordingRunner({ exitCode: 1, stderr }));
    await expect(virsh.run(["secret-list"])).rejects.toMatchObject({ code: "HOST_UNAVAILABLE" });
  });

  it("says that libvirt hangs, in bounded time", async () => {
    const runner = new RecordingRunner(new LuksmithError("TOOL_TIMEOUT", { what: "virsh did not finish" }));
    await expect(new Virsh(URI, runner).run(["secret-list"])).rejects.toMatchObject({
      code: "HOST_UNAVAILABLE",
    });
    expect(runner.commands[0]?.timeout).toBeLessThanOrEqual(15_000);
  });

  it("says that libvirt went away while virsh wrote to it", async () => {
    const killed = new LuksmithError("TOOL_FAILED", { what: "virsh failed", why: "killed by SIGPIPE" });
    const virsh = new Virsh(URI, new RecordingRunner(killed));
    await expect(virsh.run(["secret-list"])).rejects.toMatchObject({ code: "HOST_UNAVAILABLE" });
  });

  it("passes other failures on", async () => {
    const runner = new RecordingRunner(new LuksmithError("TOOL_MISSING", { what: "cannot run virsh" }));
    await expect(new Virsh(URI, runner).run(["secret-list"])).rejects.toMatchObject({ code: "TOOL_MISSING" });
  });
});
