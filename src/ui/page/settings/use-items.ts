import { newItem } from "../../form/edit.js";
import type { ListField, TextsField } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import { itemsOf } from "../../form/navigate.js";
import { type Pointer, within } from "../../form/pointer.js";
import { useForm } from "./form-context.js";
import { idOf, useFocus } from "./use-focus.js";

interface Items {
  readonly items: readonly Json[];
  /** Of the button that adds one. */
  readonly addId: string;
  readonly add: () => void;
  readonly remove: (index: number) => void;
}

/** The items of a list without names. The focus goes to a new one, and from a removed one to the button that adds. */
export function useItems(field: ListField | TextsField, pointer: Pointer, value: Json | undefined): Items {
  const { enter } = useForm();
  const focus = useFocus();
  const items = itemsOf(field, value);
  const addId = `${idOf(pointer)}-add`;
  return {
    items,
    addId,
    add: () => {
      const place = within(pointer, items.length);
      enter(place, field.kind === "list" ? newItem(field.item) : "");
      focus(idOf(place));
    },
    remove: (index) => {
      enter(within(pointer, index), undefined);
      focus(addId);
    },
  };
}
