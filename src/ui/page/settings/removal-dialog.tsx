import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { UiApi } from "../../api/ui-api.js";
import type { Json } from "../../form/json.js";
import { removalOf } from "../../form/removal.js";
import { Dialog } from "../dialog.js";
import { useForm } from "./form-context.js";
import type { ListedItem } from "./named-list.js";
import { RemovalQuestion } from "./removal-question.js";
import { useStatusAsked } from "./use-status-asked.js";

interface Props {
  readonly api: UiApi;
  readonly base: Json;
  readonly listed: ListedItem;
  /** Hears of saved keystores that may go: the save does not ask once more. */
  readonly agree: (names: readonly string[]) => void;
  readonly close: () => void;
}

/** Says what would be lost with the keystore, and takes it out of the form if that is what somebody wants. */
export function RemovalDialog({ api, base, listed, agree, close }: Props) {
  const { settings } = useForm();
  const { name, remove } = listed;
  const removal = removalOf(base, settings, listed.index);
  const asked = useStatusAsked(api, removal.kind === "saved" ? "needed" : "not-needed");
  const confirm = () => {
    close();
    if (removal.kind === "saved") agree(removal.names);
    remove();
  };
  return (
    <Dialog title={`Remove ${name ?? "this keystore"}`} onClose={close}>
      <RemovalQuestion removal={removal} name={name ?? ""} asked={asked} confirm={confirm} />
      <div className="luksmith-buttons">
        <Button variant="link" onClick={close}>
          Keep it
        </Button>
      </div>
    </Dialog>
  );
}
