import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { ProblemDetails, problemOf, sentence } from "./problem-words.js";

interface Props {
  readonly error: unknown;
  readonly onRetry?: () => void;
}

/** Whatever went wrong: what, why, and what to do about it. */
export function FailureNotice({ error, onRetry }: Props) {
  const { what, why, hint } = problemOf(error);
  return (
    <div role="alert">
      <Alert isInline variant="danger" title={sentence(what)} component="p">
        <ProblemDetails why={why} hint={hint} />
        {onRetry && (
          <Button variant="link" isInline onClick={onRetry}>
            Try again
          </Button>
        )}
      </Alert>
    </div>
  );
}
