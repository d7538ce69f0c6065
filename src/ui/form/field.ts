import type { Json } from "./json.js";

/** What a form shows of one property of the settings, whatever shows it. */
export type Field =
  | TagField
  | TextField
  | NumberField
  | ChoiceField
  | TextsField
  | SecretField
  | ListField
  | GroupField
  | VariantField;

interface Common {
  /** The property's name; empty for the settings as a whole and for the items of a list. */
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly required: Requirement;
  /** What holds while the property is left out. */
  readonly fallback?: Json;
}

export type Requirement = "required" | "optional";

/** Says one thing only, which nobody chooses. */
export interface TagField extends Common {
  readonly kind: "tag";
  readonly value: Json;
}

export interface TextField extends Common {
  readonly kind: "text";
  readonly example?: string;
}

export interface NumberField extends Common {
  readonly kind: "number";
}

/** One of a few texts or numbers, or yes and no. */
export interface ChoiceField extends Common {
  readonly kind: "choice";
  readonly choices: readonly Choice[];
}

export interface Choice {
  readonly value: string | number | boolean;
  readonly label: string;
}

/** A list of texts. */
export interface TextsField extends Common {
  readonly kind: "texts";
  readonly item: TextField;
}

/** A secret that is handed over once, or the path of a file that has it: two properties that stand for each other. */
export interface SecretField extends Common {
  readonly kind: "secret";
  readonly file: TextField;
}

/** A list of objects. */
export interface ListField extends Common {
  readonly kind: "list";
  readonly item: GroupField | VariantField;
}

/** An object. */
export interface GroupField extends Common {
  readonly kind: "group";
  readonly fields: readonly Field[];
}

/** An object whose tag says which properties it has. */
export interface VariantField extends Common {
  readonly kind: "variant";
  /** The tag's property. */
  readonly tag: string;
  readonly tagTitle: string;
  readonly branches: readonly Branch[];
}

export interface Branch {
  readonly value: string;
  /** The beginning of the description, for a list of branches. */
  readonly label: string;
  readonly description: string;
  /** Without the tag. */
  readonly fields: readonly Field[];
}
