import { useEffect, useState } from "react";
import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { Spinner } from "@patternfly/react-core/dist/esm/components/Spinner/index.js";
import type { ReapOutput } from "../../../generated/reap.js";
import type { UiApi } from "../../api/ui-api.js";
import { Dialog } from "../dialog.js";
import { FailureNotice } from "../failure-notice.js";
import { Leftovers } from "./leftovers.js";

interface Props {
  readonly api: UiApi;
  readonly onClose: () => void;
  readonly onCleaned: () => void;
}

/** What guests that do not run have left on the host: it is shown first, and cleaned when that was seen. */
export function ReapDialog({ api, onClose, onCleaned }: Props) {
  const [found, setFound] = useState<ReapOutput>();
  const [cleaned, setCleaned] = useState<ReapOutput>();
  const [failure, setFailure] = useState<unknown>();
  const [isWorking, setWorking] = useState(true);
  useEffect(() => {
    api
      .reap("dry-run")
      .then(setFound, setFailure)
      .finally(() => setWorking(false));
  }, [api]);
  const clean = () => {
    setWorking(true);
    setFailure(undefined);
    api
      .reap("apply")
      .then(setCleaned, setFailure)
      .finally(() => {
        setWorking(false);
        onCleaned();
      });
  };
  const output = cleaned ?? found;
  return (
    <Dialog title="Clean up leftovers" onClose={onClose}>
      <p>
        Guests that were killed, and hosts that lost power, can leave decrypted mappings and host secrets
        behind. Nothing of a guest that runs is touched.
      </p>
      {isWorking && (
        <p role="status">
          <Spinner size="md" aria-label="Working" /> {found === undefined ? "Looking." : "Cleaning up."}
        </p>
      )}
      {failure !== undefined && <FailureNotice error={failure} />}
      {output && !isWorking && (
        <div role="status">
          <Alert isInline {...resultOf(output, cleaned === undefined ? "looked" : "cleaned")} component="p" />
        </div>
      )}
      {output && <Leftovers leftovers={output.leftovers} />}
      <div className="luksmith-buttons">
        {found !== undefined && cleaned === undefined && found.leftovers.length > 0 && (
          <Button onClick={clean} isAriaDisabled={isWorking}>
            Clean up
          </Button>
        )}
        <Button variant="secondary" onClick={onClose}>
          Close
        </Button>
      </div>
    </Dialog>
  );
}

/** What has come of it, as a title. */
export function resultOf({ clean, leftovers }: ReapOutput, done: "looked" | "cleaned") {
  if (leftovers.length === 0) return { variant: "success", title: "Nothing is left over." } as const;
  if (done === "looked")
    return { variant: "info", title: "Nothing has been changed yet. This is left over:" } as const;
  if (clean) return { variant: "success", title: "All of it is gone." } as const;
  return { variant: "warning", title: "Some of it is there still." } as const;
}
