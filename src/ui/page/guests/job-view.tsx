import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { UiApi } from "../../api/ui-api.js";
import { FailureNotice } from "../failure-notice.js";
import { DiskProgressView } from "./disk-progress-view.js";
import type { ProtectJob } from "./protect-job.js";

interface Props {
  readonly job: ProtectJob;
  readonly whenClosed: UiApi["whenClosed"];
  readonly onClose: () => void;
}

export function JobView({ job, whenClosed, onClose }: Props) {
  const { state, disks, failure, choice } = job;
  return (
    <>
      {state === "running" && <p>{WHEN_CLOSED[whenClosed]}</p>}
      {Object.entries(disks).map(([device, progress]) => (
        <DiskProgressView key={device} job={job} device={device} progress={progress} />
      ))}
      {state === "running" && Object.keys(disks).length === 0 && <p role="status">It begins.</p>}
      {state === "failed" && <FailureNotice error={failure} />}
      {state === "done" && (
        <div role="status">
          <Alert isInline variant="success" title={END[choice.content ?? "empty"]} component="p" />
        </div>
      )}
      <div className="luksmith-buttons">
        <Button autoFocus variant={state === "running" ? "secondary" : "primary"} onClick={onClose}>
          Close
        </Button>
      </div>
    </>
  );
}

const WHEN_CLOSED = {
  "goes-on":
    "You may close this dialog, and the page: the work goes on, and the status says when it is done.",
  ends: "You may close this dialog. If you close the page or log out, the work stops; nothing is lost, and it can be started again.",
} satisfies Record<UiApi["whenClosed"], string>;

const END = {
  empty: "Done. The guest's next start formats what is new.",
  convert: "Done. What was on the disks is encrypted.",
};
