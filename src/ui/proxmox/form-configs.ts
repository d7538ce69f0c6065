import { newItem, withBranch } from "../form/edit.js";
import type { Field, ListField, VariantField } from "../form/field.js";
import { type Json, textIn } from "../form/json.js";
import { branchOf, itemsOf } from "../form/navigate.js";
import { childOf, within } from "../form/pointer.js";
import type { Config } from "./ext.js";
import { choiceConfigs, numberConfigs, secretConfigs, textConfigs, textsConfigs } from "./field-configs.js";
import type { FormContext } from "./form-context.js";
import { escaped } from "./html.js";

/** ExtJS components for the fields of an object; `value` is the object. */
export function formConfigs(
  fields: readonly Field[],
  value: Json | undefined,
  pointer: string,
  context: FormContext,
): Config[] {
  return fields.flatMap((field) => {
    if (field.kind === "secret") return secretConfigs(field, value, pointer, context);
    return fieldConfigs(field, childOf(value, field.name), within(pointer, field.name), context);
  });
}

function fieldConfigs(
  field: Exclude<Field, { kind: "secret" }>,
  value: Json | undefined,
  pointer: string,
  context: FormContext,
): Config[] {
  switch (field.kind) {
    case "tag":
      return [];
    case "text":
      return textConfigs(field, value, pointer, context);
    case "number":
      return numberConfigs(field, value, pointer, context);
    case "choice":
      return choiceConfigs(field, value, pointer, context);
    case "texts":
      return textsConfigs(field, value, pointer, context);
    case "group":
      return [part(field, pointer, context, formConfigs(field.fields, value, pointer, context))];
    case "variant":
      return [part(field, pointer, context, variantConfigs(field, value, pointer, context))];
    case "list":
      return [part(field, pointer, context, listConfigs(field, value, pointer, context))];
  }
}

/** A part of the form that can be folded. */
function part(field: Field, pointer: string, context: FormContext, items: readonly Config[]): Config {
  return {
    xtype: "fieldset",
    title: escaped(field.title),
    collapsible: true,
    collapsed: !context.unfolded.has(pointer),
    pointer,
    listeners: {
      expand: () => context.unfolded.add(pointer),
      collapse: () => context.unfolded.delete(pointer),
    },
    items: [{ xtype: "component", margin: "0 0 8 0", html: escaped(field.description) }, ...items],
  };
}

/** Which branch it is, and the fields of that one alone. */
function variantConfigs(
  variant: VariantField,
  given: Json | undefined,
  pointer: string,
  context: FormContext,
): Config[] {
  const value = given ?? variant.fallback;
  const branch = branchOf(variant, value);
  const choose = (chosen: unknown) => {
    const next = variant.branches.find(({ value: tag }) => tag === chosen);
    if (next !== undefined && next !== branch)
      context.reshaped(pointer, (now) => withBranch(variant, now, next), pointer);
  };
  const chooser = {
    xtype: "proxmoxKVComboBox",
    fieldLabel: escaped(variant.tagTitle),
    labelWidth: 190,
    anchor: "100%",
    pointer: within(pointer, variant.tag),
    readOnly: context.access === "read",
    allowBlank: false,
    submitValue: false,
    comboItems: variant.branches.map(({ value: tag, label }) => [tag, `${tag}: ${label}`]),
    value: branch?.value ?? "",
    listeners: { change: (_: unknown, chosen: unknown) => choose(chosen) },
  };
  if (branch === undefined) return [chooser];
  const about = {
    xtype: "component",
    margin: "0 0 8 195",
    style: { opacity: "0.75" },
    html: escaped(branch.description),
  };
  return [chooser, about, ...formConfigs(branch.fields, value, pointer, context)];
}

function listConfigs(
  list: ListField,
  value: Json | undefined,
  pointer: string,
  context: FormContext,
): Config[] {
  const items = itemsOf(list, value);
  const shown = items.map((item, index) => itemConfig(list, items, item, index, pointer, context));
  const add = () => {
    const next = within(pointer, String(items.length));
    context.unfolded.add(next);
    context.reshaped(pointer, (now) => [...itemsOf(list, now), newItem(list.item)], next);
  };
  const last =
    items.length === 0 ? [{ xtype: "component", margin: "0 0 8 0", html: "There are none." }] : shown;
  return context.access === "read"
    ? last
    : [...last, button(`Add to ${list.title}`, "fa fa-plus-circle", add)];
}

function itemConfig(
  list: ListField,
  items: readonly Json[],
  item: Json,
  index: number,
  listAt: string,
  context: FormContext,
): Config {
  const pointer = within(listAt, String(index));
  const name = textIn(item, "name") ?? `${index + 1} (new)`;
  const { item: field } = list;
  const fields =
    field.kind === "group"
      ? formConfigs(field.fields, item, pointer, context)
      : variantConfigs(field, item, pointer, context);
  const rearrange = (put: (others: readonly Json[], own: Json) => readonly Json[]) => {
    for (const place of context.unfolded) if (place.startsWith(`${listAt}/`)) context.unfolded.delete(place);
    context.reshaped(listAt, (now) => {
      const current = itemsOf(list, now);
      return put(current.toSpliced(index, 1), current[index] ?? item);
    });
  };
  const move = (to: number) => () => rearrange((others, own) => others.toSpliced(to, 0, own));
  const remove = () => context.removal(pointer, () => rearrange((others) => others));
  const buttons = [
    ...(index > 0 ? [button("Up", "fa fa-arrow-up", move(index - 1))] : []),
    ...(index < items.length - 1 ? [button("Down", "fa fa-arrow-down", move(index + 1))] : []),
    button("Remove", "fa fa-trash-o", remove),
    ...context.tools(pointer, field),
  ];
  return {
    ...part({ ...field, title: name, description: "" }, pointer, context, fields),
    items: [
      ...fields,
      ...(context.access === "read" ? [] : [{ xtype: "toolbar", border: false, items: buttons }]),
    ],
  };
}

function button(text: string, iconCls: string, handler: () => void): Config {
  return { xtype: "button", text: escaped(text), iconCls, handler };
}
