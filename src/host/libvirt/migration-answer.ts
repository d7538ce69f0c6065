import { LuksmithError } from "../../error/luksmith-error.js";
import { printable } from "../../error/printable.js";
import type { MigrationAnswer } from "../../generated/migration-answer.js";
import { CHECK_ANSWER } from "../guest-migration.js";
import validate from "../../generated/validate-migration-answer.cjs";

/**
 * What the target's Luksmith answers, in what virsh says about the hook that refused.
 * @throws MIGRATION_ANSWER_INVALID if that is no answer, also when the hook failed before it could give one; TOOL_FAILED
 *   if it was not the hook that refused
 */
export function answerIn(stderr: string, target: string): MigrationAnswer {
  const line = stderr.split(CHECK_ANSWER)[1]?.split("\n")[0];
  if (line === undefined) throw refused(stderr, target);
  const answer = parse(line);
  if (isAnswer(answer)) return answer;
  throw invalid(target, {
    why: "it is not what this version of luksmith expects",
    hint: "see that both hosts have the same version of luksmith: luksmith version",
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isAnswer(value: unknown): value is MigrationAnswer {
  return validate(value);
}

/** How libvirt says that a hook failed, which ends with the hook's standard error. */
const HOOK_FAILED = /Hook script execution failed: [^]*? unexpected exit status \d+: /;

function refused(stderr: string, target: string): LuksmithError {
  const said = stderr.split(HOOK_FAILED)[1];
  if (said === undefined) {
    return new LuksmithError("TOOL_FAILED", {
      what: `cannot ask the luksmith at ${printable(target)}`,
      why: [...stderr.matchAll(/^error: (.*)$/gm)].map(([, message = ""]) => printable(message)).join(": "),
      hint: "it is asked by a migration without a start, which libvirt refused before luksmith was asked",
    });
  }
  const part = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(said)?.[1];
  const what = part("error") ?? said.trim().split("\n")[0] ?? "";
  const cause = part("cause");
  return invalid(target, {
    why: cause === undefined ? what : `${what}: ${cause}`,
    hint: part("hint") ?? "see what the hooks of libvirt do there, in /etc/libvirt/hooks",
  });
}

function invalid(target: string, { why, hint }: { why: string; hint: string }): LuksmithError {
  return new LuksmithError("MIGRATION_ANSWER_INVALID", {
    what: `the luksmith at ${printable(target)} gave no valid answer`,
    why,
    hint,
  });
}
