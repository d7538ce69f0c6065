import type { ReactNode } from "react";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { StatusOutput } from "../../../generated/status.js";
import { moment } from "./words.js";

interface Props {
  readonly status: Pick<StatusOutput, "takenAt" | "host"> | undefined;
  readonly isReading: boolean;
  readonly onRead: () => void;
  readonly children: ReactNode;
}

/** How old is what the page shows, and what can be done with all of it. */
export function ReadingBar({ status, isReading, onRead, children }: Props) {
  return (
    <div className="luksmith-reading">
      {status?.takenAt !== undefined && (
        <p>
          {status.host === undefined ? "Read" : `Host ${status.host}, read`}{" "}
          <time dateTime={status.takenAt}>{moment(status.takenAt)}</time>
        </p>
      )}
      <div className="luksmith-buttons">
        <Button variant="secondary" onClick={onRead} isAriaDisabled={isReading}>
          {isReading && status !== undefined ? "Reading…" : "Read again"}
        </Button>
        {children}
      </div>
    </div>
  );
}
