import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { Spinner } from "@patternfly/react-core/dist/esm/components/Spinner/index.js";
import { useState } from "react";
import type { SettingsTestOutput } from "../../../generated/settings-test.js";
import type { UiApi } from "../../api/ui-api.js";
import type { Json } from "../../form/json.js";
import { ProblemWords } from "../problem-words.js";
import { useForm } from "./form-context.js";
import { Notice } from "./notice.js";
import { Trouble } from "./trouble.js";

type Result = SettingsTestOutput["keystores"][number];
type Check = Result["checks"][number];

type State =
  | { readonly kind: "none" }
  | { readonly kind: "trying"; readonly passed: readonly Check[] }
  | { readonly kind: "incomplete" }
  | { readonly kind: "tried"; readonly result: Result; readonly of: Json }
  | { readonly kind: "failed"; readonly error: unknown; readonly of: Json };

const CHECKS: Readonly<Record<Check, string>> = {
  reached: "The keystore answers.",
  TLS: "Its certificate can be trusted.",
  authenticated: "It knows Luksmith.",
  "round trip": "A throw-away key was stored, fetched and deleted.",
};

interface Props {
  readonly api: UiApi;
  readonly name: string | undefined;
  readonly keystore: Json;
  readonly ready: "complete" | "incomplete";
}

/** Tries the keystore as it is typed, saved or not, and shows each check as it passes. */
export function KeystoreTest({ api, name, keystore, ready }: Props) {
  const { settings } = useForm();
  const [state, setState] = useState<State>({ kind: "none" });
  const test = async (tried: string) => {
    let passed: readonly Check[] = [];
    setState({ kind: "trying", passed });
    try {
      const { keystores } = await api.test(settings, tried, ({ event, check }) => {
        if (event !== "passed" || check === undefined) return;
        passed = [...passed, check];
        setState({ kind: "trying", passed });
      });
      const result = keystores.find((one) => one.name === tried);
      setState(result === undefined ? { kind: "none" } : { kind: "tried", result, of: keystore });
    } catch (error) {
      setState({ kind: "failed", error, of: keystore });
    }
  };
  const begin = () => {
    if (name === undefined || ready === "incomplete") setState({ kind: "incomplete" });
    else void test(name);
  };
  return (
    <>
      <Button
        variant="secondary"
        isDisabled={state.kind === "trying"}
        onClick={begin}
        aria-label={`Test connection to ${name ?? "this keystore"}`}
      >
        Test connection
      </Button>
      <div role="status" className="luksmith-result">
        <TestResult state={state} keystore={keystore} ready={ready} />
      </div>
    </>
  );
}

function TestResult({
  state,
  keystore,
  ready,
}: Pick<Props, "keystore" | "ready"> & { readonly state: State }) {
  switch (state.kind) {
    case "none":
      return null;
    case "incomplete":
      return ready === "complete" ? null : (
        <Notice
          tone="warning"
          title="Not tried: something is still missing or wrong in this keystore's settings."
        />
      );
    case "trying":
      return (
        <>
          <p>
            <Spinner size="sm" aria-hidden="true" /> Trying…
          </p>
          <Passed checks={state.passed} />
        </>
      );
    case "tried":
      return state.of === keystore ? <Tried result={state.result} /> : null;
    case "failed":
      return state.of === keystore ? (
        <Trouble error={state.error} title="The keystore could not be tried" />
      ) : null;
  }
}

export function Tried({ result: { ok, checks, seconds, problem } }: { readonly result: Result }) {
  const time = `${seconds.toFixed(2)} s`;
  return (
    <Notice
      tone={ok ? "success" : "danger"}
      title={ok ? `The keystore works (${time})` : `The keystore does not work (${time})`}
    >
      <Passed checks={checks} />
      {problem !== undefined && <ProblemWords problem={problem} />}
    </Notice>
  );
}

function Passed({ checks }: { readonly checks: readonly Check[] }) {
  return (
    <ul>
      {checks.map((check) => (
        <li key={check}>{CHECKS[check]}</li>
      ))}
    </ul>
  );
}
