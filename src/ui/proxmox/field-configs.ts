import type { ChoiceField, Field, NumberField, SecretField, TextField, TextsField } from "../form/field.js";
import { fileOf } from "../form/fields-of.js";
import { isList, isObject, type Json, textIn } from "../form/json.js";
import { within } from "../form/pointer.js";
import { isKept } from "../form/secrets.js";
import { valueWords } from "../form/words.js";
import type { Config } from "./ext.js";
import type { FormContext } from "./form-context.js";
import { escaped } from "./html.js";

const LABEL_WIDTH = 190;

/** A text that can be typed. */
export function textConfigs(
  field: TextField,
  value: Json | undefined,
  pointer: string,
  context: FormContext,
) {
  return labelled(field, pointer, context, {
    xtype: "textfield",
    value: typeof value === "string" ? value : "",
    emptyText: hintOf(field),
    onTyped: (typed) => textOr(typed, undefined),
  });
}

export function numberConfigs(
  field: NumberField,
  value: Json | undefined,
  pointer: string,
  context: FormContext,
) {
  return labelled(field, pointer, context, {
    xtype: "numberfield",
    allowDecimals: false,
    value: typeof value === "number" ? value : null,
    emptyText: hintOf(field),
    onTyped: (typed) => (typeof typed === "number" ? typed : undefined),
  });
}

/**
 * Leaving it out is one of the choices, unless it is required. Choices are shown as they are, in the list as markup and
 * in the input as text: they are the schema's own, and need no escaping.
 */
export function choiceConfigs(
  field: ChoiceField,
  value: Json | undefined,
  pointer: string,
  context: FormContext,
) {
  const choices = field.choices.map((choice) => [String(choice.value), choice.label] as const);
  const absent = [LEFT_OUT, hintOf(field) || "not set"] as const;
  return labelled(field, pointer, context, {
    xtype: "proxmoxKVComboBox",
    comboItems: field.required === "required" ? choices : [absent, ...choices],
    value: value === undefined ? (field.required === "required" ? "" : LEFT_OUT) : plain(value),
    onTyped: (typed) => field.choices.find((choice) => String(choice.value) === typed)?.value,
  });
}

/** One text a line. */
export function textsConfigs(
  field: TextsField,
  value: Json | undefined,
  pointer: string,
  context: FormContext,
) {
  return labelled(field, pointer, context, {
    xtype: "textareafield",
    grow: true,
    growMin: 60,
    value: isList(value) ? value.map(plain).join("\n") : "",
    emptyText: [hintOf(field), "one a line"].filter((text) => text !== "").join("; "),
    onTyped: (typed) => {
      const lines = typeof typed === "string" ? typed.split("\n") : [];
      const texts = lines.map((line) => line.trim()).filter((line) => line !== "");
      return texts.length === 0 ? undefined : texts;
    },
  });
}

/** Two inputs: for the secret, which is never shown, and for the path of a file that has it. */
export function secretConfigs(
  field: SecretField,
  parent: Json | undefined,
  parentAt: string,
  context: FormContext,
) {
  const file = fileOf(field.name);
  const path = textIn(parent, file);
  const kept = isKept(parent, field.name, context.kept);
  return [
    ...labelled(field, within(parentAt, field.name), context, {
      xtype: "textfield",
      inputType: "password",
      inputAttrTpl: 'autocomplete="new-password"',
      // what was typed before the form was made anew is still in the settings that are edited
      value: "",
      emptyText: isObject(parent) && Object.hasOwn(parent, field.name) ? "typed in" : kept ? KEPT : "",
      onTyped: (typed) => textOr(typed, undefined),
    }),
    ...labelled(field.file, within(parentAt, file), context, {
      xtype: "textfield",
      value: kept ? "" : (path ?? ""),
      emptyText: kept ? "" : hintOf(field.file),
      // taking another path away again leaves what was there
      onTyped: (typed) => textOr(typed, kept ? path : undefined),
    }),
  ];
}

const KEPT = "A secret is stored; leave empty to keep it.";
const LEFT_OUT = "__default__";

interface Input {
  readonly xtype: string;
  /** What the settings say once it is in the input; undefined leaves the property out. */
  readonly onTyped: (typed: unknown) => Json | undefined;
  readonly [name: string]: unknown;
}

/** The input with its label, and what it is for below it. */
function labelled(
  field: Field,
  pointer: string,
  context: FormContext,
  { onTyped, ...input }: Input,
): Config[] {
  return [
    {
      ...input,
      fieldLabel: escaped(field.title),
      labelWidth: LABEL_WIDTH,
      anchor: "100%",
      pointer,
      readOnly: context.access === "read",
      allowBlank: field.required === "optional",
      submitValue: false,
      listeners: { change: (_: unknown, typed: unknown) => context.typed(pointer, onTyped(typed)) },
    },
    {
      xtype: "component",
      margin: `0 0 8 ${LABEL_WIDTH + 5}`,
      style: { opacity: "0.75" },
      html: escaped(field.description),
    },
  ];
}

/** What holds without it, or how it could look. */
function hintOf(field: Field): string {
  if (field.fallback !== undefined) return valueWords(field, undefined);
  return field.kind === "text" && field.example !== undefined ? `for example ${field.example}` : "";
}

function textOr(typed: unknown, absent: string | undefined): string | undefined {
  return typeof typed === "string" && typed !== "" ? typed : absent;
}

function plain(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
