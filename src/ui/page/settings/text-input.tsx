import { TextInput } from "@patternfly/react-core/dist/esm/components/TextInput/index.js";
import type { NumberField, TextField } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import type { Pointer } from "../../form/pointer.js";
import { describedBy, FieldFrame } from "./field-frame.js";
import { useForm } from "./form-context.js";
import { idOf } from "./use-focus.js";

interface TextInputProps {
  readonly field: TextField | NumberField;
  readonly pointer: Pointer;
  readonly value: Json | undefined;
  /** Said of this one value, before what holds for all. */
  readonly note?: string;
}

/** A text or a whole number. What is no number stays as it was typed, and the problem says so. */
export function TextSetting({ field, pointer, value, note = "" }: TextInputProps) {
  const form = useForm();
  const id = idOf(pointer);
  const problems = form.problemsAt(pointer);
  const help = [note, field.description, defaultWords(field.fallback)];
  const placeholder = placeholderOf(field);
  return (
    <FieldFrame id={id} title={field.title} required={field.required} help={help} problems={problems}>
      <TextInput
        id={id}
        type="text"
        autoComplete="off"
        spellCheck={false}
        {...(field.kind === "number" ? { inputMode: "numeric" as const } : {})}
        {...(placeholder === undefined ? {} : { placeholder })}
        value={shown(value)}
        isRequired={field.required === "required"}
        validated={problems.length > 0 ? "error" : "default"}
        aria-describedby={describedBy({ id, help, problems })}
        onChange={(_, text) => form.enter(pointer, field.kind === "number" ? numberIn(text) : textIn(text))}
        onBlur={() => form.touch(pointer)}
      />
    </FieldFrame>
  );
}

/** What holds while nothing is typed, in words. */
export function defaultWords(fallback: Json | undefined): string {
  const words = shown(fallback);
  return words === "" ? "" : `Default: ${words}`;
}

export function shown(value: Json | undefined): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

export function textIn(typed: string): Json | undefined {
  return typed === "" ? undefined : typed;
}

function numberIn(typed: string): Json | undefined {
  const text = typed.trim();
  return /^-?[0-9]{1,15}$/.test(text) ? Number(text) : textIn(text);
}

function placeholderOf(field: TextField | NumberField): string | undefined {
  if (field.fallback !== undefined) return shown(field.fallback);
  return field.kind === "text" && field.example !== undefined ? `such as ${field.example}` : undefined;
}
