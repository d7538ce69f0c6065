import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { OfGuest } from "./of-guest.js";
import type { ProtectJob } from "./protect-job.js";

/** A job of a guest, while its dialog is closed. */
export function JobLine({ job, onShow }: { readonly job: ProtectJob; readonly onShow: () => void }) {
  return (
    <p className="luksmith-job-line">
      {WORDS[job.state]}{" "}
      <Button variant="link" isInline onClick={onShow}>
        Show details
        <OfGuest name={job.guestName} />
      </Button>
    </p>
  );
}

const WORDS = {
  running: "Its disks are being encrypted.",
  done: "Its disks were encrypted.",
  failed: "Encrypting its disks has failed.",
} satisfies Record<ProtectJob["state"], string>;
