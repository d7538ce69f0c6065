import { Button } from "@patternfly/react-core/dist/esm/components/Button/index.js";
import type { ReactNode } from "react";
import { withBranch, withoutBranch } from "../../form/edit.js";
import type { Field, GroupField, ListField, VariantField } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import { branchOf } from "../../form/navigate.js";
import { type Pointer, within } from "../../form/pointer.js";
import { ChoiceInput } from "./choice-input.js";
import { FieldHelp } from "./field-frame.js";
import { FieldViews, unsetWords } from "./field-view.js";
import { useForm } from "./form-context.js";
import { idOf } from "./use-focus.js";
import { useItems } from "./use-items.js";

interface ObjectProps<Kind extends Field> {
  readonly field: Kind;
  readonly pointer: Pointer;
  readonly value: Json | undefined;
}

/** Fields that belong together, with a name and what they are for. */
export function GroupSetting({ field, pointer, value }: ObjectProps<GroupField>) {
  const { problemsAt } = useForm();
  return (
    <Fieldset
      pointer={pointer}
      title={field.title}
      description={field.description}
      problems={problemsAt(pointer)}
    >
      <FieldViews fields={field.fields} parent={pointer} object={value} />
    </Fieldset>
  );
}

/** What kind it is, and the fields of that kind. */
export function VariantSetting({ field, pointer, value }: ObjectProps<VariantField>) {
  return (
    <Fieldset pointer={pointer} title={field.title} description={field.description} problems={[]}>
      <VariantFields field={field} pointer={pointer} value={value} />
    </Fieldset>
  );
}

export function VariantFields({ field, pointer, value }: ObjectProps<VariantField>) {
  const { enter, problemsAt } = useForm();
  const branch = branchOf(field, value);
  const tag = within(pointer, field.tag);
  const choose = (chosen: Json | undefined) => {
    const next = field.branches.find((candidate) => candidate.value === chosen);
    enter(pointer, next === undefined ? withoutBranch(field, value) : withBranch(field, value, next));
  };
  const fresh =
    branch === undefined
      ? ""
      : " Another choice starts anew: what is set below goes, and so does a stored secret.";
  return (
    <>
      <ChoiceInput
        field={{
          ...field,
          title: field.tagTitle,
          description: `${branch?.description ?? ""}${fresh}`.trim(),
        }}
        choices={field.branches}
        pointer={tag}
        value={branch?.value}
        unset={unsetWords(field)}
        choose={choose}
        problems={[...new Set([...problemsAt(pointer), ...problemsAt(tag)])]}
      />
      {branch !== undefined && <FieldViews fields={branch.fields} parent={pointer} object={value} />}
    </>
  );
}

/** A list of objects inside of an item: the servers of a protector. */
export function ListSetting({ field, pointer, value }: ObjectProps<ListField>) {
  const { problemsAt } = useForm();
  const { items, addId, add, remove } = useItems(field, pointer, value);
  const title = field.item.title;
  return (
    <Fieldset
      pointer={pointer}
      title={field.title}
      description={field.description}
      problems={problemsAt(pointer)}
    >
      {items.map((item, index) => (
        <Fieldset
          key={index}
          pointer={within(pointer, index)}
          title={`${title} ${index + 1}`}
          description=""
          problems={[]}
        >
          {field.item.kind === "group" ? (
            <FieldViews fields={field.item.fields} parent={within(pointer, index)} object={item} />
          ) : (
            <VariantFields field={field.item} pointer={within(pointer, index)} value={item} />
          )}
          <div>
            <Button variant="link" isInline isDanger onClick={() => remove(index)}>
              {`Remove ${title.toLowerCase()} ${index + 1}`}
            </Button>
          </div>
        </Fieldset>
      ))}
      <div>
        <Button id={addId} variant="secondary" size="sm" onClick={add}>
          {`Add ${title.toLowerCase()}`}
        </Button>
      </div>
    </Fieldset>
  );
}

interface FieldsetProps {
  readonly pointer: Pointer;
  readonly title: string;
  readonly description: string;
  readonly problems: readonly string[];
  readonly children: ReactNode;
}

export function Fieldset({ pointer, title, description, problems, children }: FieldsetProps) {
  const id = idOf(pointer);
  return (
    <fieldset id={id} className="luksmith-fieldset" tabIndex={-1} aria-describedby={`${id}-problems`}>
      <legend>{title}</legend>
      <FieldHelp id={id} help={[description]} problems={problems} />
      {children}
    </fieldset>
  );
}
