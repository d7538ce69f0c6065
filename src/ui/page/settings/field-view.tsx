import type { Field } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import { childOf, type Pointer, within } from "../../form/pointer.js";
import { referenceAt } from "../../form/references.js";
import { valueWords } from "../../form/words.js";
import { ChoiceInput } from "./choice-input.js";
import { useForm } from "./form-context.js";
import { GroupSetting, ListSetting, VariantSetting } from "./object-input.js";
import { SecretSetting } from "./secret-input.js";
import { TextSetting } from "./text-input.js";
import { TextsSetting } from "./texts-input.js";
import { idOf } from "./use-focus.js";

interface FieldsProps {
  readonly fields: readonly Field[];
  /** Where the object is that has the fields, and what it says. */
  readonly parent: Pointer;
  readonly object: Json | undefined;
}

/** The inputs for the properties of one object. */
export function FieldViews({ fields, parent, object }: FieldsProps) {
  return fields.map((field) => <FieldView key={field.name} field={field} parent={parent} object={object} />);
}

interface FieldProps extends Omit<FieldsProps, "fields"> {
  readonly field: Field;
}

export function FieldView({ field, parent, object }: FieldProps) {
  const form = useForm();
  const pointer = within(parent, field.name);
  const value = childOf(object, field.name);
  switch (field.kind) {
    case "tag":
      return (
        <p id={idOf(pointer)} tabIndex={-1}>
          {field.title}: {valueWords(undefined, field.value)}. {field.description}
        </p>
      );
    case "text": {
      const reference = referenceAt(form.settings, pointer);
      if (reference === undefined) return <TextSetting field={field} pointer={pointer} value={value} />;
      return (
        <ChoiceInput
          field={field}
          choices={reference.names.map((name) => ({ value: name, label: name }))}
          pointer={pointer}
          value={value}
          unset={reference.unset}
          choose={(chosen) => form.enter(pointer, chosen)}
          problems={form.problemsAt(pointer)}
        />
      );
    }
    case "number":
      return <TextSetting field={field} pointer={pointer} value={value} />;
    case "choice":
      return (
        <ChoiceInput
          field={field}
          choices={field.choices}
          pointer={pointer}
          value={value}
          unset={unsetWords(field)}
          choose={(chosen) => form.enter(pointer, chosen)}
          problems={form.problemsAt(pointer)}
        />
      );
    case "secret":
      return <SecretSetting field={field} parent={parent} object={object} />;
    case "texts":
      return <TextsSetting field={field} pointer={pointer} value={value} />;
    case "list":
      return <ListSetting field={field} pointer={pointer} value={value} />;
    case "group":
      return <GroupSetting field={field} pointer={pointer} value={value} />;
    case "variant":
      return <VariantSetting field={field} pointer={pointer} value={value} />;
  }
}

/** What a choice says while nothing is chosen. */
export function unsetWords(field: Field): string {
  if (field.fallback !== undefined) return capital(valueWords(field, undefined));
  return field.required === "required" ? "Choose one" : "None";
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
