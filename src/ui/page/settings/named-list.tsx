import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { ReactNode } from "react";
import { newItem } from "../../form/edit.js";
import type { ListField } from "../../form/field.js";
import { type Json, textIn } from "../../form/json.js";
import { itemsOf } from "../../form/navigate.js";
import { type Pointer, within } from "../../form/pointer.js";
import { FieldViews } from "./field-view.js";
import { useForm } from "./form-context.js";
import { VariantFields } from "./object-input.js";
import { Item } from "./section.js";
import { idOf, useFocus } from "./use-focus.js";
import { useItemKeys } from "./use-item-keys.js";

export interface ListedItem {
  readonly item: Json;
  readonly index: number;
  readonly pointer: Pointer;
  readonly name: string | undefined;
  readonly remove: () => void;
  /** Undefined at the list's end. */
  readonly moveUp: (() => void) | undefined;
  readonly moveDown: (() => void) | undefined;
}

interface Props {
  readonly field: ListField;
  /** One of them: `keystore`. */
  readonly noun: string;
  /** Shown where there is none. */
  readonly empty: string;
  readonly noteOf: (item: Json) => string;
  readonly actionsOf: (listed: ListedItem) => ReactNode;
}

/** Keystores, profiles or rules: each opens to be edited, and new ones come at the end. */
export function NamedList({ field, noun, empty, noteOf, actionsOf }: Props) {
  const { settings, enter } = useForm();
  const focus = useFocus();
  const items = itemsOf(field, settings[field.name]);
  const { keys, remove, swap } = useItemKeys(items.length);
  const list = within("", field.name);
  const addId = `${idOf(list)}-add`;
  const add = () => {
    enter(within(list, items.length), newItem(field.item));
    focus(idOf(within(list, items.length)));
  };
  const move = (index: number, to: number, focusId: string) => {
    const [moved, other] = [items[index], items[to]];
    if (moved === undefined || other === undefined) return;
    swap(index, to);
    enter(list, items.with(index, other).with(to, moved));
    focus(focusId);
  };
  return (
    <>
      {items.length === 0 && <p>{empty}</p>}
      <ol className="luksmith-list">
        {items.map((item, index) => {
          const pointer = within(list, index);
          const name = textIn(item, "name");
          const listed: ListedItem = {
            ...{ item, index, pointer, name },
            remove: () => {
              remove(index);
              enter(pointer, undefined);
              focus(addId);
            },
            moveUp: index === 0 ? undefined : () => move(index, index - 1, moveId(list, index - 1, "up")),
            moveDown:
              index === items.length - 1
                ? undefined
                : () => move(index, index + 1, moveId(list, index + 1, "down")),
          };
          return (
            <li key={keys[index]}>
              <Item
                pointer={pointer}
                title={name ?? `New ${noun}`}
                note={noteOf(item)}
                initially={name === undefined ? "open" : "closed"}
              >
                <ItemFields field={field} pointer={pointer} item={item} />
              </Item>
              <div className="luksmith-buttons">{actionsOf(listed)}</div>
            </li>
          );
        })}
      </ol>
      <div>
        <Button id={addId} variant="secondary" onClick={add}>{`Add ${noun}`}</Button>
      </div>
    </>
  );
}

/** Of the button that moves what is there now. */
export function moveId(list: Pointer, index: number, direction: "up" | "down"): string {
  return `${idOf(within(list, index))}-${direction}`;
}

function ItemFields({
  field,
  pointer,
  item,
}: {
  readonly field: ListField;
  readonly pointer: Pointer;
  readonly item: Json;
}) {
  return field.item.kind === "group" ? (
    <FieldViews fields={field.item.fields} parent={pointer} object={item} />
  ) : (
    <VariantFields field={field.item} pointer={pointer} value={item} />
  );
}
