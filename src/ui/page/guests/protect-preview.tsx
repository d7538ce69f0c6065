import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { ProtectJob } from "./protect-job.js";
import { Steps } from "./steps.js";

interface Props {
  /** Of a dry run. */
  readonly preview: ProtectJob;
  readonly onConfirm: () => void;
  readonly onBack: () => void;
}

export function ProtectPreview({ preview, onConfirm, onBack }: Props) {
  const disks = Object.entries(preview.disks);
  const isNeeded = disks.some(([, { steps }]) => steps.length > 0);
  return (
    <>
      <p role="status">
        {isNeeded
          ? "Nothing has been changed yet. This would be done:"
          : "Nothing is to be done: it is so already."}
      </p>
      {disks.map(([device, progress]) => (
        <Steps key={device} device={device} progress={progress} />
      ))}
      <div className="luksmith-buttons">
        {isNeeded && <Button onClick={onConfirm}>Encrypt now</Button>}
        <Button variant="secondary" onClick={onBack}>
          Back
        </Button>
      </div>
    </>
  );
}
