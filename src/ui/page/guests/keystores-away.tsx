import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import type { StatusOutput } from "../../../generated/status.js";
import { ProblemDetails, sentence } from "../problem-words.js";

type Keystore = NonNullable<StatusOutput["keystores"]>[number];

interface Props {
  readonly keystores: readonly Keystore[];
  /** How many disks' state is not known. */
  readonly unproven: number;
}

/** Keystores that give out no keys, which is why some of the rest may not be known. */
export function KeystoresAway({ keystores, unproven }: Props) {
  return (
    <>
      {keystores
        .filter(({ answers }) => !answers)
        .map(({ name, problem }) => {
          const { title, what } = stateOf(name, problem);
          return (
            <Alert
              key={name}
              isInline
              variant="warning"
              component="h2"
              title={sentence(title)}
              className="luksmith-notice"
            >
              {what !== undefined && <p>{sentence(what)}</p>}
              {problem && <ProblemDetails why={problem.why} hint={problem.hint} />}
              <p>
                {unproven > 0 && "What needs it could not be found out. "}
                Guests whose keys are there do not start until it can be used again.
              </p>
            </Alert>
          );
        })}
    </>
  );
}

/** `what`: what the problem says beside the title. */
function stateOf(name: string, problem: Keystore["problem"]): { title: string; what?: string } {
  const away = `keystore ${name} does not answer`;
  if (problem === undefined || problem.what === away) return { title: away };
  if (problem.code === "KEYSTORE_UNAVAILABLE") return { title: away, what: problem.what };
  return { title: `keystore ${name} cannot be used: ${problem.what}` };
}
