import { useState } from "react";
import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { Checkbox } from "@patternfly/react-core/dist/esm/components/Checkbox/index.js";
import { Radio } from "@patternfly/react-core/dist/esm/components/Radio/index.js";
import type { UiApi } from "../../api/ui-api.js";
import { VERDICTS } from "../../words/verdicts.js";
import { FailureNotice } from "../failure-notice.js";
import type { Disk, Guest } from "./guest.js";
import { ProfileSelect } from "./profile-select.js";
import type { ProtectChoice } from "./protect-job.js";
import { canBeProtected } from "./protectable.js";
import { size } from "./words.js";

interface Props {
  readonly api: UiApi;
  readonly guest: Guest;
  /** What was chosen before; the user has come back. */
  readonly choice: ProtectChoice | undefined;
  readonly isLooking: boolean;
  readonly failure: unknown;
  readonly onLook: (choice: ProtectChoice) => void;
  readonly onCancel: () => void;
}

export function ProtectForm({ api, guest, choice, isLooking, failure, onLook, onCancel }: Props) {
  const able = guest.disks.filter(canBeProtected).map(({ device }) => device);
  const [disks, setDisks] = useState<readonly string[]>(choice?.disks ?? able);
  // nobody knows of a plain disk that it is empty: taken for one that holds data, it loses nothing
  const [content, setContent] = useState(choice?.content ?? "convert");
  const [profile, setProfile] = useState(choice?.profile);
  const [first, ...more] = disks;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (first === undefined || isLooking) return;
        onLook({
          guest: guest.id,
          disks: [first, ...more],
          content,
          ...(profile !== undefined && { profile }),
        });
      }}
    >
      <fieldset className="luksmith-choice">
        <legend>Disks</legend>
        {guest.disks.map((disk) => (
          <Checkbox
            key={disk.device}
            id={`luksmith-protect-${disk.device}`}
            label={disk.device}
            description={describe(disk)}
            isChecked={disks.includes(disk.device)}
            isDisabled={!canBeProtected(disk)}
            onChange={(_event, isChecked) =>
              setDisks(able.filter((device) => (device === disk.device ? isChecked : disks.includes(device))))
            }
          />
        ))}
      </fieldset>
      <fieldset className="luksmith-choice">
        <legend>What is on them</legend>
        <Radio
          id="luksmith-protect-convert"
          name="luksmith-protect-content"
          label="They hold data: copy and encrypt"
          description={CONVERT_WORDS}
          isChecked={content === "convert"}
          onChange={() => setContent("convert")}
        />
        <Radio
          id="luksmith-protect-empty"
          name="luksmith-protect-content"
          label="They are new and empty"
          description={EMPTY_WORDS}
          isChecked={content === "empty"}
          onChange={() => setContent("empty")}
        />
      </fieldset>
      <ProfileSelect api={api} profile={profile} onProfile={setProfile} />
      {failure !== undefined && <FailureNotice error={failure} />}
      <div className="luksmith-buttons">
        <Button
          type="submit"
          isDisabled={first === undefined}
          isAriaDisabled={isLooking}
          isLoading={isLooking}
        >
          Show what would be done
        </Button>
        <Button variant="secondary" onClick={onCancel}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

const CONVERT_WORDS =
  "The guest may run. The copy needs as much free space as the disk, and the old volume is kept until luksmith purge removes it.";
const EMPTY_WORDS =
  "The guest must be shut off; its next start formats them. Nothing is copied, and a disk that holds anything is refused.";

function describe({ verdict, volume, guestSize }: Disk): string {
  const known = [VERDICTS[verdict].word, ...(guestSize === undefined ? [] : [size(guestSize)]), volume];
  return known.join(", ");
}
