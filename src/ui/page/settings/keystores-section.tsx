import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { useState } from "react";
import type { UiApi } from "../../api/ui-api.js";
import type { Json } from "../../form/json.js";
import { branchOf } from "../../form/navigate.js";
import { isWithin } from "../../form/pointer.js";
import type { FieldProblem } from "../../form/problems.js";
import { listNamed } from "./form.js";
import { KeystoreTest } from "./keystore-test.js";
import { type ListedItem, NamedList } from "./named-list.js";
import { RemovalDialog } from "./removal-dialog.js";
import { Section } from "./section.js";

const FIELD = listNamed("keystores");

interface Props {
  readonly api: UiApi;
  /** The settings as they are stored. */
  readonly base: Json;
  readonly problems: readonly FieldProblem[];
  readonly agree: (names: readonly string[]) => void;
}

/** Where passphrases are kept. */
export function KeystoresSection({ api, base, problems, agree }: Props) {
  const [removing, setRemoving] = useState<ListedItem>();
  return (
    <Section field={FIELD} pointer="/keystores">
      <NamedList
        field={FIELD}
        noun="keystore"
        empty="There is no keystore: no disk can be encrypted. Add one."
        noteOf={noteOf}
        actionsOf={(listed) => (
          <>
            <KeystoreTest
              api={api}
              name={listed.name}
              keystore={listed.item}
              ready={
                problems.some(({ pointer }) => isWithin(pointer, listed.pointer)) ? "incomplete" : "complete"
              }
            />
            <Button variant="link" isDanger onClick={() => setRemoving(listed)}>
              {`Remove ${listed.name ?? "this keystore"}`}
            </Button>
          </>
        )}
      />
      {removing !== undefined && (
        <RemovalDialog
          api={api}
          base={base}
          listed={removing}
          agree={agree}
          close={() => setRemoving(undefined)}
        />
      )}
    </Section>
  );
}

function noteOf(keystore: Json): string {
  if (FIELD.item.kind !== "variant") return "";
  return branchOf(FIELD.item, keystore)?.label ?? "choose what it is";
}
