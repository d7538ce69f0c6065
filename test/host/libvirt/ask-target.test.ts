import { beforeEach, describe, expect, it } from "vitest";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import { probedXml } from "../../../src/guest-config/probe-metadata.js";
import { askTarget } from "../../../src/host/libvirt/ask-target.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { domainXml } from "../../lab/test-domain.js";
import { RecordingRunner } from "./recording-runner.js";

const HERE = "qemu:///system";
const ID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
const GUEST = { id: ID, name: "web1" };
const XML = domainXml({ name: "web1", uuid: ID });
const HOOK = `error: Hook script execution failed: internal error: Child process (x) unexpected exit status 3: `;
const ANSWERED = { exitCode: 1, stderr: `${HOOK}luksmith-migrate-check: {"version":"1","disks":[]}\n\n` };
const NOBODY = {
  exitCode: 1,
  stderr: "error: failed to connect to the hypervisor\nerror: no route to host\n",
};
const RUNS = { stdout: `${ID}\n${ID} web1\n` };
const STOPPED = { stdout: `${ID} web1\n` };
let answers: ConstructorParameters<typeof RecordingRunner>;
let runner: RecordingRunner;

beforeEach(() => {
  answers = [RUNS, {}, { stdout: XML }, ANSWERED];
});

function ask(target = "qemu+ssh://b/system") {
  runner = new RecordingRunner(...answers);
  return askTarget(new Virsh(HERE, runner), GUEST, target);
}

/** Of each virsh: whose it is, and its commands. */
const commands = () => runner.commands.map(({ args }) => [args[2] === HERE ? "here" : args[2], args[3]]);

describe("asking a target", () => {
  it("lets a probe with the guest's configuration migrate there, and takes it away", async () => {
    expect(await ask()).toEqual({ version: "1", disks: [] });
    expect(commands().slice(0, 3)).toEqual([
      ["here", "list --uuid; list --all --uuid --name"],
      ["qemu+ssh://b/system", "list --uuid; list --all --uuid --name"],
      ["here", `dumpxml --domain ${ID}`],
    ]);
    expect(commands()).toHaveLength(4);
    const [whose, script = ""] = commands()[3] ?? [];
    const probe = /--domain ([0-9a-f-]{36})/.exec(script)?.[1];
    expect([whose, script]).toEqual([
      "here",
      "define /proc/self/fd/3; migrate --offline --persistent --domain " +
        `${probe} '--desturi=qemu+ssh://b/system'; undefine --domain ${probe}`,
    ]);
    expect(runner.commands[3]?.timeout).toBe(60_000);
    expect(probedXml(runner.commands[3]?.files[0] ?? "")).toBe(XML);
  });

  it("never asks libvirt for the guest's own secrets", async () => {
    await ask();
    // --migratable would bring them too
    expect(runner.scripts.join()).not.toMatch(/security-info|migratable/);
  });

  it("brings the persistent configuration of a guest that does not run", async () => {
    answers[0] = STOPPED;
    await ask();
    expect(runner.scripts).toContain(`dumpxml --inactive --domain ${ID}`);
  });

  it("finds nobody where the probe arrives, and takes it away there", async () => {
    answers = [RUNS, {}, { stdout: XML }, {}, {}];
    expect(await ask()).toBeUndefined();
    expect(commands()[4]).toEqual([
      "qemu+ssh://b/system",
      expect.stringMatching(/^undefine --domain [0-9a-f-]{36}$/) as string,
    ]);
  });

  it.each(["--all", "x'; destroy web1", 'a"b\\', "\n", "$(reboot)"])(
    "gives virsh the target %j as one word",
    async (target) => {
      await ask(target);
      const word = target.replaceAll("'", String.raw`'\''`);
      expect(runner.scripts[3]).toContain(` '--desturi=${word}'; undefine`);
    },
  );

  it("says that the target cannot be reached, and begins nothing", async () => {
    answers[1] = NOBODY;
    await expect(ask("qemu+ssh://b' c/system")).rejects.toMatchObject({
      code: "HOST_UNAVAILABLE",
      message: "cannot reach libvirt at qemu+ssh://b' c/system, where the guest is to migrate",
      why: "no route to host",
      hint: String.raw`see whether this works: virsh -c 'qemu+ssh://b'\'' c/system' list`,
    });
    expect(runner.commands).toHaveLength(2);
  });

  it("takes no empty target, which virsh would take for this host", async () => {
    await expect(ask("")).rejects.toMatchObject({ code: "HOST_UNAVAILABLE" });
    expect(runner.commands).toHaveLength(1);
  });

  it("says that libvirt here cannot be reached", async () => {
    answers[0] = NOBODY;
    const failure = { code: "HOST_UNAVAILABLE", message: `cannot reach libvirt at ${HERE}` };
    await expect(ask()).rejects.toMatchObject(failure);
  });

  it("says that the guest is not there", async () => {
    answers[2] = { exitCode: 1, stderr: "error: failed to get domain 'x'\n" };
    await expect(ask()).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
    expect(runner.commands).toHaveLength(3);
  });

  it("takes the probe away on both sides when virsh does not come back", async () => {
    answers = [RUNS, {}, { stdout: XML }, new LuksmithError("TOOL_TIMEOUT", { what: "killed" }), {}, NOBODY];
    await expect(ask()).rejects.toMatchObject({
      code: "HOST_UNAVAILABLE",
      why: "it did not answer within 60 s",
    });
    const undefine = expect.stringMatching(/^undefine --domain [0-9a-f-]{36}$/) as string;
    expect(commands().slice(4)).toEqual([
      ["here", undefine],
      ["qemu+ssh://b/system", undefine],
    ]);
  });

  it("leaves domains alone that only look like probes, or belong to others", async () => {
    const others = [
      `${ID} web1`,
      "8a2b0b9e-5cbb-4ba8-a9a0-7e9c7f6f2f6e luksmith-check-000000000000-4194305-1-00000000",
      "8a2b0b9e-5cbb-4ba8-a9a0-7e9c7f6f2f6f luksmith-check-web",
    ];
    answers[0] = { stdout: others.join("\n") };
    answers[1] = { stdout: others.slice(1).join("\n") };
    await ask();
    expect(runner.scripts.filter((script) => script.startsWith("undefine"))).toEqual([]);
  });
});
