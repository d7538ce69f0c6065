import { FormSelect, FormSelectOption } from "@patternfly/react-core/dist/esm/components/FormSelect/index.js";
import type { Choice, Field } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import type { Pointer } from "../../form/pointer.js";
import { valueWords } from "../../form/words.js";
import { describedBy, FieldFrame } from "./field-frame.js";
import { useForm } from "./form-context.js";
import { idOf } from "./use-focus.js";

interface ChoiceProps {
  readonly field: Pick<Field, "title" | "description" | "required" | "fallback"> & Partial<Field>;
  readonly choices: readonly Choice[];
  readonly pointer: Pointer;
  readonly value: Json | undefined;
  /** Of what the choice says when nothing is chosen. */
  readonly unset: string;
  readonly choose: (value: Json | undefined) => void;
  readonly problems: readonly string[];
}

/** One of several values, or none of them: then what is left out of the settings stays left out. */
export function ChoiceInput({ field, choices, pointer, value, unset, choose, problems }: ChoiceProps) {
  const { touch } = useForm();
  const id = idOf(pointer);
  const help = [field.description];
  const known = choices.findIndex((choice) => choice.value === value);
  return (
    <FieldFrame id={id} title={field.title} required={field.required} help={help} problems={problems}>
      <FormSelect
        id={id}
        value={value === undefined ? "" : String(known)}
        isRequired={field.required === "required"}
        validated={problems.length > 0 ? "error" : "default"}
        aria-describedby={describedBy({ id, help, problems })}
        onChange={(_, chosen) => choose(choices[chosen === "" ? -1 : Number(chosen)]?.value)}
        onBlur={() => touch(pointer)}
      >
        <FormSelectOption value="" label={unset} />
        {choices.map(({ label }, index) => (
          <FormSelectOption key={label} value={String(index)} label={label} />
        ))}
        {value !== undefined && known === -1 && <FormSelectOption value="-1" label={wordsOf(value)} />}
      </FormSelect>
    </FieldFrame>
  );
}

function wordsOf(value: Json): string {
  return `${valueWords(undefined, value)} (not one of the choices)`;
}
