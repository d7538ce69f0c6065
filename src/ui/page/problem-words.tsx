import { HomeError } from "../api/transport.js";
import { CommandProblem, type Problem } from "../api/ui-api.js";
import { hintParts } from "../words/hint.js";

type Words = Pick<Problem, "what" | "why" | "hint">;

/** What, why, and what to do about it. */
export function ProblemWords({ problem: { what, why, hint } }: { readonly problem: Words }) {
  return (
    <>
      <p>{sentence(what)}</p>
      <ProblemDetails why={why} hint={hint} />
    </>
  );
}

/** The rest of a problem, where a title says what it is. */
export function ProblemDetails({ why, hint }: { [property in "why" | "hint"]: string | undefined }) {
  return (
    <>
      {why?.split("\n").map((line) => (
        <p key={line}>{sentence(line)}</p>
      ))}
      {hint !== undefined && (
        <p>
          <HintWords hint={hint} />
        </p>
      )}
    </>
  );
}

export function HintWords({ hint }: { readonly hint: string }) {
  return (
    <>
      {"What to do: "}
      {hintParts(hint).map(({ kind, text }, index) =>
        kind === "command" ? <code key={index}>{text}</code> : text,
      )}
    </>
  );
}

/** The engine's words begin in lower case and have no period. */
export function sentence(words: string): string {
  // an address or a path keeps its case
  const begun = words.replace(/^[a-z](?=[a-z]*\s)/, (letter) => letter.toUpperCase());
  return /[.?!]$/.test(begun) ? begun : `${begun}.`;
}

/** The words of whatever was thrown. */
export function problemOf(thrown: unknown): Words {
  if (thrown instanceof CommandProblem) return thrown.problem;
  if (thrown instanceof HomeError) return { what: thrown.message, ...HOME_HINTS[thrown.reason] };
  return { what: "this page has a defect", why: thrown instanceof Error ? thrown.message : String(thrown) };
}

const HOME_HINTS = {
  unreachable: { hint: "see whether the host is up and luksmith is there, then try again" },
  busy: {},
  expired: { hint: "run luksmith ui again on the host, and open the address that it prints" },
  forbidden: {},
  broken: { hint: "run the same luksmith command on the host to see more" },
} satisfies Record<HomeError["reason"], { hint?: string }>;
