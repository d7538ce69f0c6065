import { useEffect, useState } from "react";
import { FormSelect, FormSelectOption } from "@patternfly/react-core/dist/esm/components/FormSelect/index.js";
import type { UiApi } from "../../api/ui-api.js";
import { FailureNotice } from "../failure-notice.js";

interface Props {
  readonly api: UiApi;
  readonly profile: string | undefined;
  readonly onProfile: (profile: string | undefined) => void;
}

/** Without a choice the rules of the settings say which one it is. */
export function ProfileSelect({ api, profile, onProfile }: Props) {
  const [names, setNames] = useState<readonly string[]>([]);
  const [failure, setFailure] = useState<unknown>();
  useEffect(() => {
    api
      .settings()
      .then(({ settings }) => setNames((settings.profiles ?? []).map(({ name }) => name)), setFailure);
  }, [api]);
  return (
    <div className="luksmith-choice">
      <label htmlFor="luksmith-protect-profile">Profile</label>
      <FormSelect
        id="luksmith-protect-profile"
        value={profile ?? ""}
        onChange={(_event, name) => onProfile(name === "" ? undefined : name)}
      >
        <FormSelectOption value="" label="As the rules say" />
        {names.map((name) => (
          <FormSelectOption key={name} value={name} label={name} />
        ))}
      </FormSelect>
      {failure !== undefined && <FailureNotice error={failure} />}
    </div>
  );
}
