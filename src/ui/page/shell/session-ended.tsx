import { Alert } from "@patternfly/react-core/dist/esm/components/Alert/index.js";
import type { HomeError } from "../../api/transport.js";

/** What was typed stays on the page, to be copied; nothing more can be asked of the host. */
export function SessionEnded({ error }: { readonly error: HomeError }) {
  return (
    <Alert isInline variant="warning" title="This session has ended" component="h2">
      <p>{error.message}</p>
      <p>
        Run <code>luksmith ui</code> again on the host, and open the address that it prints.
      </p>
    </Alert>
  );
}
