import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import { TextInput } from "@patternfly/react-core/dist/esm/components/TextInput/index.js";
import type { TextsField } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import { type Pointer, within } from "../../form/pointer.js";
import { useForm } from "./form-context.js";
import { Fieldset } from "./object-input.js";
import { shown } from "./text-input.js";
import { idOf } from "./use-focus.js";
import { useItems } from "./use-items.js";

interface TextsProps {
  readonly field: TextsField;
  readonly pointer: Pointer;
  readonly value: Json | undefined;
}

/** A list of texts, an input for each. */
export function TextsSetting({ field, pointer, value }: TextsProps) {
  const { enter, touch, problemsAt } = useForm();
  const { items, addId, add, remove } = useItems(field, pointer, value);
  return (
    <Fieldset
      pointer={pointer}
      title={field.title}
      description={field.description}
      problems={[pointer, ...items.map((_, index) => within(pointer, index))].flatMap(problemsAt)}
    >
      {items.map((item, index) => {
        const place = within(pointer, index);
        return (
          <div key={index} className="luksmith-row">
            <TextInput
              id={idOf(place)}
              type="text"
              autoComplete="off"
              spellCheck={false}
              aria-label={`${field.title} ${index + 1}`}
              aria-describedby={`${idOf(pointer)}-problems`}
              validated={problemsAt(place).length > 0 ? "error" : "default"}
              value={shown(item)}
              onChange={(_, text) => enter(place, text)}
              onBlur={() => touch(place)}
            />
            <Button
              variant="link"
              isDanger
              onClick={() => remove(index)}
              aria-label={`Remove ${field.title} ${index + 1}`}
            >
              Remove
            </Button>
          </div>
        );
      })}
      <div>
        <Button id={addId} variant="secondary" size="sm" onClick={add} aria-label={`Add to ${field.title}`}>
          Add
        </Button>
      </div>
    </Fieldset>
  );
}
