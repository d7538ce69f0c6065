import { useState } from "react";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { StatusOutput } from "../../../generated/status.js";
import type { UiApi } from "../../api/ui-api.js";
import { FailureNotice } from "../failure-notice.js";
import { download } from "./download.js";

export function Exports({ api, status }: { readonly api: UiApi; readonly status: StatusOutput }) {
  const [failure, setFailure] = useState<unknown>();
  const name = `luksmith-status-${status.host ?? "host"}`;
  const exportCsv = () => {
    setFailure(undefined);
    api.statusCsv().then((csv) => download(`${name}.csv`, "text/csv", csv), setFailure);
  };
  return (
    <>
      <Button
        variant="secondary"
        onClick={() => download(`${name}.json`, "application/json", `${JSON.stringify(status, null, 2)}\n`)}
      >
        Export as JSON
      </Button>
      <Button variant="secondary" onClick={exportCsv}>
        Export as CSV
      </Button>
      {failure !== undefined && <FailureNotice error={failure} onRetry={exportCsv} />}
    </>
  );
}
