import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import { VERDICTS } from "../../words/verdicts.js";
import { ProblemDetails, sentence } from "../problem-words.js";
import { factsOf } from "./disk-facts.js";
import type { Disk } from "./guest.js";
import { VerdictLabel } from "./verdict-label.js";

interface Props {
  readonly disk: Disk;
  /** When it was found out. */
  readonly takenAt: string | undefined;
}

export function DiskCard({ disk, takenAt }: Props) {
  const { device, verdict, problem } = disk;
  return (
    <li className="luksmith-disk">
      <h3>
        {device} <VerdictLabel verdict={verdict} />
      </h3>
      <p>{VERDICTS[verdict].meaning}</p>
      {problem && (
        <Alert isInline isPlain variant="warning" title={sentence(problem.what)} component="h4">
          <ProblemDetails why={problem.why} hint={problem.hint} />
        </Alert>
      )}
      <dl className="luksmith-facts">
        {factsOf(disk, takenAt).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </li>
  );
}
