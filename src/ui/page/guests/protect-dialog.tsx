import { useState } from "react";
import type { UiApi } from "../../api/ui-api.js";
import { Dialog } from "../dialog.js";
import type { Guest } from "./guest.js";
import { JobView } from "./job-view.js";
import { ProtectForm } from "./protect-form.js";
import { newJob, type ProtectChoice, type ProtectJob, withEvent } from "./protect-job.js";
import { ProtectPreview } from "./protect-preview.js";

interface Props {
  readonly api: UiApi;
  readonly guest: Guest;
  readonly job: ProtectJob | undefined;
  readonly onStart: (choice: ProtectChoice) => void;
  readonly onClose: () => void;
}

/** Choose, see what would be done, confirm, watch. */
export function ProtectDialog({ api, guest, job, onStart, onClose }: Props) {
  const [choice, setChoice] = useState<ProtectChoice>();
  const [preview, setPreview] = useState<ProtectJob>();
  const [failure, setFailure] = useState<unknown>();
  const [isLooking, setLooking] = useState(false);

  const look = (chosen: ProtectChoice) => {
    let dryRun = newJob(chosen, guest.name);
    setChoice(chosen);
    setFailure(undefined);
    setLooking(true);
    api
      .protect({ ...chosen, manner: "dry-run" }, (event) => {
        dryRun = withEvent(dryRun, event);
      })
      .then(() => setPreview(dryRun), setFailure)
      .finally(() => setLooking(false));
  };
  return (
    <Dialog title={`Encrypt disks of ${guest.name}`} onClose={onClose}>
      {job ? (
        <JobView job={job} whenClosed={api.whenClosed} onClose={onClose} />
      ) : preview ? (
        <ProtectPreview
          preview={preview}
          onConfirm={() => onStart(preview.choice)}
          onBack={() => setPreview(undefined)}
        />
      ) : (
        <ProtectForm
          api={api}
          guest={guest}
          choice={choice}
          isLooking={isLooking}
          failure={failure}
          onLook={look}
          onCancel={onClose}
        />
      )}
    </Dialog>
  );
}
