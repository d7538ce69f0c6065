import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useState } from "react";
import type { SettingsPreviewOutput } from "../../../generated/settings-preview.js";
import type { UiApi } from "../../api/ui-api.js";
import type { Json } from "../../form/json.js";
import { useForm } from "./form-context.js";
import { PreviewResult } from "./preview-result.js";
import { Trouble } from "./trouble.js";

type State =
  | { readonly kind: "none" }
  | { readonly kind: "asking" }
  | { readonly kind: "found"; readonly preview: SettingsPreviewOutput; readonly of: Json }
  | { readonly kind: "failed"; readonly error: unknown };

/** What the rules as they are typed would ask of this host's disks. */
export function RulesPreview({ api }: { readonly api: UiApi }) {
  const { settings } = useForm();
  const [state, setState] = useState<State>({ kind: "none" });
  const ask = () => {
    setState({ kind: "asking" });
    api.preview(settings).then(
      (preview) => setState({ kind: "found", preview, of: settings }),
      (error: unknown) => setState({ kind: "failed", error }),
    );
  };
  return (
    <div>
      <Button variant="secondary" isDisabled={state.kind === "asking"} onClick={ask}>
        Which guests match
      </Button>
      <div role="status" className="luksmith-result">
        {state.kind === "asking" && <p>Looking at every guest…</p>}
        {state.kind === "failed" && (
          <Trouble error={state.error} title="Which guests match could not be found out" />
        )}
        {state.kind === "found" && (
          <PreviewResult preview={state.preview} age={state.of === settings ? "current" : "outdated"} />
        )}
      </div>
    </div>
  );
}
