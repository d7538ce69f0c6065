import { all, enumeration, integer, optional, required, structure, text } from "./fields.js";
import { NAME_TYPE_TEXT, TAG } from "./tags.js";
import type { Item } from "./ttlv.js";
import { isVersion2, type Version } from "./versions.js";

/**
 * Attributes of managed objects. Before KMIP 2.0 each is a structure of its name as text, an index and the value
 * (1.4, section 2.1.1); in 2.0 it is an item with a tag of its own (section 4).
 */
export type Attribute =
  | { readonly name: "Name" | "Object Group"; readonly value: string }
  | { readonly name: "Cryptographic Usage Mask"; readonly value: number }
  | ({ readonly name: "Application Specific Information" } & ApplicationInformation);

/** KMIP 1.4, section 3.36: text that a client keeps with an object, under a name of its own. */
interface ApplicationInformation {
  readonly namespace: string;
  readonly data: string;
}

/** What an object has of the attributes that we ask for. */
export interface ObjectAttributes {
  /** Of the enumeration State. */
  readonly state: number;
  readonly names: readonly string[];
  /** Object groups that it belongs to. */
  readonly groups: readonly string[];
  readonly information: readonly (ApplicationInformation & { readonly index: number })[];
}

const READ = {
  State: TAG.State,
  Name: TAG.Name,
  "Object Group": TAG.ObjectGroup,
  "Application Specific Information": TAG.ApplicationSpecificInformation,
};

/** Attributes of a new object. */
export function newAttributes(version: Version, attributes: readonly Attribute[]): Item {
  return isVersion2(version)
    ? structure(TAG.Attributes, ...attributes.map(itemOf))
    : structure(TAG.TemplateAttribute, ...attributes.map((attribute) => named(attribute)));
}

/** What Locate looks for. */
export function filter(version: Version, attribute: Attribute): Item {
  return isVersion2(version) ? structure(TAG.Attributes, itemOf(attribute)) : named(attribute);
}

/** Asks for what `readAttributes` reads. */
export function references(version: Version): Item[] {
  return Object.entries(READ).map(([name, tag]) =>
    isVersion2(version) ? enumeration(TAG.AttributeReference, tag) : text(TAG.AttributeName, name),
  );
}

/** @throws TtlvError */
export function readAttributes(version: Version, payload: readonly Item[]): ObjectAttributes {
  const attributes = isVersion2(version)
    ? required(payload, TAG.Attributes, "structure")
    : all(payload, TAG.Attribute, "structure").flatMap(unnamed);
  return {
    state: required(attributes, TAG.State, "enumeration"),
    names: all(attributes, TAG.Name, "structure").map((name) => required(name, TAG.NameValue, "text")),
    groups: all(attributes, TAG.ObjectGroup, "text"),
    information: all(attributes, TAG.ApplicationSpecificInformation, "structure").map((value, position) => ({
      namespace: required(value, TAG.ApplicationNamespace, "text"),
      data: required(value, TAG.ApplicationData, "text"),
      index: optional(value, TAG.AttributeIndex, "integer") ?? position,
    })),
  };
}

/** Puts `changed` in the place of what the object has. KMIP 2.0 compares, 1.x goes by the index. */
export function replacement(
  version: Version,
  current: ApplicationInformation & { readonly index: number },
  changed: string,
): Item[] {
  const name = "Application Specific Information";
  const after = { name, namespace: current.namespace, data: changed } as const;
  if (!isVersion2(version)) return [named(after, current.index)];
  return [
    structure(TAG.CurrentAttribute, itemOf({ name, ...current })),
    structure(TAG.NewAttribute, itemOf(after)),
  ];
}

function itemOf(attribute: Attribute): Item {
  switch (attribute.name) {
    case "Name":
      return structure(
        TAG.Name,
        text(TAG.NameValue, attribute.value),
        enumeration(TAG.NameType, NAME_TYPE_TEXT),
      );
    case "Object Group":
      return text(TAG.ObjectGroup, attribute.value);
    case "Cryptographic Usage Mask":
      return integer(TAG.CryptographicUsageMask, attribute.value);
    case "Application Specific Information":
      return structure(
        TAG.ApplicationSpecificInformation,
        text(TAG.ApplicationNamespace, attribute.namespace),
        text(TAG.ApplicationData, attribute.data),
      );
  }
}

function named(attribute: Attribute, index?: number): Item {
  return structure(
    TAG.Attribute,
    text(TAG.AttributeName, attribute.name),
    ...(index === undefined ? [] : [integer(TAG.AttributeIndex, index)]),
    { ...itemOf(attribute), tag: TAG.AttributeValue },
  );
}

/** An attribute of KMIP 1.x as 2.0 has it, with its index inside; none for what nobody asked for. */
function unnamed(attribute: readonly Item[]): Item[] {
  const name = required(attribute, TAG.AttributeName, "text");
  const value = attribute.find(({ tag }) => tag === TAG.AttributeValue);
  const index = attribute.filter(({ tag }) => tag === TAG.AttributeIndex);
  if (value === undefined || !Object.hasOwn(READ, name)) return [];
  const tag = READ[name as keyof typeof READ];
  return [value.type === "structure" ? structure(tag, ...value.value, ...index) : { ...value, tag }];
}
