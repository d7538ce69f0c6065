import type { Branch, Choice, Field, GroupField, Requirement, TextField, VariantField } from "./field.js";
import { resolve, type Schema, SETTINGS_SCHEMA } from "./schema.js";

/** The form of all settings. */
export function settingsForm(): GroupField {
  return groupOf("", SETTINGS_SCHEMA, "required");
}

/** What to show of an object: its properties in the schema's order, all branches included. */
export function fieldsOf(schema: Schema): Field[] {
  const properties = Object.entries(schema.properties ?? {}).map(([name, property]) => ({
    name,
    schema: resolve(property),
  }));
  const secrets = properties
    .filter(({ schema: { writeOnly } }) => writeOnly === true)
    .map(({ name }) => name);
  const required = (name: string) => (schema.required?.includes(name) === true ? "required" : "optional");
  return properties.flatMap(({ name, schema: property }) => {
    const secret = secrets.find((candidate) => name === fileOf(candidate));
    if (secret !== undefined) return [];
    if (property.writeOnly !== true) return [fieldOf(name, property, required(name))];
    return [secretOf(name, property, schema)];
  });
}

/** The property that names a file with the secret. */
export function fileOf(secret: string): string {
  return `${secret}File`;
}

function fieldOf(name: string, schema: Schema, required: Requirement): Field {
  const common = commonOf(name, schema, required);
  if (schema.const !== undefined) return { kind: "tag", ...common, value: schema.const };
  if (schema.oneOf !== undefined) return variantOf(name, schema, required);
  if (schema.enum !== undefined) return { kind: "choice", ...common, choices: schema.enum.map(choiceOf) };
  switch (schema.type) {
    case "boolean":
      return { kind: "choice", ...common, choices: YES_AND_NO };
    case "integer":
      return { kind: "number", ...common };
    case "string":
      return textOf(name, schema, required);
    case "object":
      return groupOf(name, schema, required);
    case "array":
      return listOf(name, schema, required);
    case undefined:
    default:
      throw new Error(`cannot show the property ${name}: it has no type that a form knows`);
  }
}

function commonOf(name: string, schema: Schema, required: Requirement) {
  return {
    name,
    title: schema.title ?? name,
    description: schema.description ?? "",
    required,
    ...(schema.default === undefined ? {} : { fallback: schema.default }),
  };
}

function textOf(name: string, schema: Schema, required: Requirement): TextField {
  const example = schema.examples?.[0];
  const common = commonOf(name, schema, required);
  return { kind: "text", ...common, ...(typeof example === "string" ? { example } : {}) };
}

function secretOf(name: string, schema: Schema, parent: Schema): Field {
  const file = fileOf(name);
  const needed = [name, file].some((property) => parent.required?.includes(property))
    ? "required"
    : "optional";
  return {
    kind: "secret",
    ...commonOf(name, schema, needed),
    file: textOf(file, resolve(parent.properties?.[file] ?? {}), "optional"),
  };
}

function groupOf(name: string, schema: Schema, required: Requirement): GroupField {
  return { kind: "group", ...commonOf(name, schema, required), fields: fieldsOf(schema) };
}

function listOf(name: string, schema: Schema, required: Requirement): Field {
  const common = commonOf(name, schema, required);
  const items = resolve(schema.items ?? {});
  const item = fieldOf("", { title: common.title, ...items }, "required");
  switch (item.kind) {
    case "text":
      return { kind: "texts", ...common, item };
    case "group":
    case "variant":
      return { kind: "list", ...common, item };
    case "tag":
    case "number":
    case "choice":
    case "texts":
    case "secret":
    case "list":
      throw new Error(`cannot show the list ${name}: it has items that a form does not know`);
  }
}

function variantOf(name: string, schema: Schema, required: Requirement): VariantField {
  const tag = schema.discriminator?.propertyName ?? "type";
  const branches = (schema.oneOf ?? []).map((branch) => branchOf(resolve(branch), tag));
  const tagTitle = resolve(schema.oneOf?.[0] ?? {}).properties?.[tag]?.title ?? tag;
  return { kind: "variant", ...commonOf(name, schema, required), tag, tagTitle, branches };
}

function branchOf(schema: Schema, tag: string): Branch {
  const { const: value, description = "" } = resolve(schema.properties?.[tag] ?? {});
  if (typeof value !== "string") throw new Error(`a branch without a ${tag}`);
  return {
    value,
    label: /^(.+?)(?=[,:]\s|\.(?:\s|$)|$)/.exec(description)?.[1] ?? value,
    description,
    fields: fieldsOf(schema).filter(({ name }) => name !== tag),
  };
}

const YES_AND_NO: readonly Choice[] = [
  { value: true, label: "yes" },
  { value: false, label: "no" },
];

function choiceOf(value: string | number): Choice {
  return { value, label: String(value) };
}
