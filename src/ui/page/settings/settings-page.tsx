import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { Spinner } from "@patternfly/react-core/dist/esm/components/Spinner/index.js";
import { useCallback, useEffect, useState } from "react";
import type { SettingsGetOutput } from "../../../generated/settings-get.js";
import type { UiApi } from "../../api/ui-api.js";
import { FOCUS_HOME } from "../shell/kept-focus.js";
import { SettingsForm } from "./settings-form.js";
import { Trouble } from "./trouble.js";
import { useEditor } from "./use-editor.js";

interface Props {
  readonly api: UiApi;
}

type Loading =
  | { readonly kind: "loading" }
  | { readonly kind: "loaded"; readonly settings: SettingsGetOutput }
  | { readonly kind: "failed"; readonly error: unknown };

/** The operator's settings: read, edited, tried and saved. */
export function SettingsPage({ api }: Props) {
  const [loading, setLoading] = useState<Loading>({ kind: "loading" });
  const load = useCallback(() => {
    setLoading({ kind: "loading" });
    api.settings().then(
      (settings) => setLoading({ kind: "loaded", settings }),
      (error: unknown) => setLoading({ kind: "failed", error }),
    );
  }, [api]);
  useEffect(load, [load]);
  return (
    <div className="luksmith-settings">
      <h1 tabIndex={-1} {...FOCUS_HOME}>
        Settings
      </h1>
      <Loaded api={api} loading={loading} load={load} />
    </div>
  );
}

function Loaded({ api, loading, load }: Props & { readonly loading: Loading; readonly load: () => void }) {
  switch (loading.kind) {
    case "loading":
      return (
        <p role="status">
          <Spinner size="md" aria-hidden="true" /> Reading the settings…
        </p>
      );
    case "failed":
      return (
        <div role="alert">
          <Trouble error={loading.error} title="The settings could not be read">
            <Button variant="secondary" onClick={load}>
              Try again
            </Button>
          </Trouble>
        </div>
      );
    case "loaded":
      return <Edited api={api} loaded={loading.settings} load={load} />;
  }
}

function Edited({
  api,
  loaded,
  load,
}: Props & { readonly loaded: SettingsGetOutput; readonly load: () => void }) {
  const editor = useEditor(api, loaded, load);
  return <SettingsForm api={api} editor={editor} path={loaded.path} />;
}
