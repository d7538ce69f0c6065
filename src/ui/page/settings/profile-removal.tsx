import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useState } from "react";
import { type ProfileRemoval, profileRemovalOf } from "../../form/removal.js";
import { whyProfileStays } from "../../words/stays.js";
import { Dialog } from "../dialog.js";
import { useForm } from "./form-context.js";
import type { ListedItem } from "./named-list.js";
import { Notice } from "./notice.js";

/** Removes the profile, or says why it must stay. */
export function ProfileRemovalButton({ name, index, remove }: ListedItem) {
  const { settings } = useForm();
  const [refused, setRefused] = useState<Refusal>();
  const close = () => setRefused(undefined);
  const words = `Remove ${name ?? "this profile"}`;
  const press = () => {
    const removal = profileRemovalOf(settings, index);
    if (removal.kind === "free") remove();
    else setRefused(removal);
  };
  return (
    <>
      <Button variant="link" isDanger onClick={press}>
        {words}
      </Button>
      {refused !== undefined && (
        <Dialog title={words} onClose={close}>
          <Notice tone="danger" title="It cannot be removed">
            {whyProfileStays(refused)}
          </Notice>
          <div className="luksmith-buttons">
            <Button variant="link" onClick={close}>
              Keep it
            </Button>
          </div>
        </Dialog>
      )}
    </>
  );
}

type Refusal = Extract<ProfileRemoval, { kind: "refused" }>;
