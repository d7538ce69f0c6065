import { describe, expect, it } from "vitest";
import { answerIn } from "../../../src/host/libvirt/migration-answer.js";

const TARGET = "qemu+ssh://b/system";
const ANSWER = { version: "0.6.0", disks: [] };

/** As virsh says that the target's hook failed, in libvirt 9. */
function failedHook(stderr: string, exitCode = 3): string {
  const environment = "LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  const hook = "/etc/libvirt/hooks/qemu.d/luksmith luksmith-check-1 migrate begin -";
  const reason = `Child process (${environment} ${hook}) unexpected exit status ${exitCode}: ${stderr}`;
  return `error: Hook script execution failed: internal error: ${reason}\n\n`;
}

const answered = (line: string) => answerIn(failedHook(`luksmith-migrate-check: ${line}\n`), TARGET);

describe("the answer to a check", () => {
  it("is found in what virsh says", () => {
    expect(answered(JSON.stringify(ANSWER))).toEqual(ANSWER);
    const problem = { code: "KEY_NOT_FOUND", what: "cannot take over\nguest", hint: "error: x" };
    expect(answered(JSON.stringify({ ...ANSWER, problem }))).toEqual({ ...ANSWER, problem });
  });

  it("is found among warnings of the hook's, and whatever it is that a later version adds", () => {
    const more = { ...ANSWER, later: [1] };
    const text = `warn: copying\nluksmith-migrate-check: ${JSON.stringify(more)}\nwarn: something\n`;
    expect(answerIn(failedHook(text), TARGET)).toEqual(more);
  });

  it.each(["", "{", "null", "[]", "{}", '{"version":1,"disks":[]}', JSON.stringify(ANSWER).slice(0, -3)])(
    "is none if it reads %j",
    (line) => {
      const invalid = {
        code: "MIGRATION_ANSWER_INVALID",
        message: expect.stringContaining(TARGET) as string,
      };
      expect(() => answered(line)).toThrow(expect.objectContaining(invalid));
    },
  );

  it("is what the hook says that failed before it could answer", () => {
    const text =
      "error: cannot use the settings\ncause: /keystores must not be empty\nhint: luksmith settings test\n";
    expect(() => answerIn(failedHook(text, 6), TARGET)).toThrow(
      expect.objectContaining({
        code: "MIGRATION_ANSWER_INVALID",
        why: "cannot use the settings: /keystores must not be empty",
        hint: "luksmith settings test",
      }),
    );
  });

  it.each([
    ["says nothing", "", ""],
    ["is somebody else's", "no guests today\nbye\n", "no guests today"],
    ["tells no cause", "error: cannot do it\n", "cannot do it"],
  ])("is what the hook says that %s", (_, text, why) => {
    expect(() => answerIn(failedHook(text, 1), TARGET)).toThrow(
      expect.objectContaining({ code: "MIGRATION_ANSWER_INVALID", why, hint: expect.any(String) as string }),
    );
  });

  it("is none of the hook's if libvirt refused by itself", () => {
    const stderr = "error: internal error: Attempt to migrate guest to the same host c78f03e3\n\n";
    expect(() => answerIn(stderr, TARGET)).toThrow(
      expect.objectContaining({
        code: "TOOL_FAILED",
        why: "internal error: Attempt to migrate guest to the same host c78f03e3",
      }),
    );
  });
});
