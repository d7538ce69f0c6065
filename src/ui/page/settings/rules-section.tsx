import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { UiApi } from "../../api/ui-api.js";
import { isObject, type Json } from "../../form/json.js";
import { listNamed } from "./form.js";
import { type ListedItem, moveId, NamedList } from "./named-list.js";
import { RulesPreview } from "./rules-preview.js";
import { Section } from "./section.js";

const FIELD = listNamed("rules");

/** Which guests must be encrypted, in the order in which the rules speak. */
export function RulesSection({ api }: { readonly api: UiApi }) {
  return (
    <Section field={FIELD} pointer="/rules">
      <NamedList
        field={FIELD}
        noun="rule"
        empty="There is no rule: only what a guest's own definition asks for is encrypted."
        noteOf={noteOf}
        actionsOf={(listed) => <RuleActions {...listed} />}
      />
      <RulesPreview api={api} />
    </Section>
  );
}

function RuleActions({ index, name, moveUp, moveDown, remove }: ListedItem) {
  const rule = name ?? `rule ${index + 1}`;
  return (
    <>
      <MoveButton rule={rule} index={index} direction="up" move={moveUp} />
      <MoveButton rule={rule} index={index} direction="down" move={moveDown} />
      <Button variant="link" isDanger onClick={remove}>{`Remove ${rule}`}</Button>
    </>
  );
}

interface MoveProps {
  readonly rule: string;
  readonly index: number;
  readonly direction: "up" | "down";
  readonly move: (() => void) | undefined;
}

function MoveButton({ rule, index, direction, move }: MoveProps) {
  return (
    <Button
      id={moveId("/rules", index, direction)}
      variant="secondary"
      size="sm"
      isAriaDisabled={move === undefined}
      onClick={move}
      aria-label={`Move ${rule} ${direction}`}
    >
      {direction === "up" ? "Up" : "Down"}
    </Button>
  );
}

function noteOf(rule: Json): string {
  const values = isObject(rule) ? rule : {};
  const named = ["guest", "tag", "pool", "storage"].flatMap((name) => {
    const pattern = values[name];
    return typeof pattern === "string" ? [`${name} ${pattern}`] : [];
  });
  const disks = named.length === 0 ? "every disk" : named.join(", ");
  return `${disks}: ${values["encrypt"] === false ? "must not be encrypted" : "must be encrypted"}`;
}
