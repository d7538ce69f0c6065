import type { GroupField, VariantField } from "../form/field.js";
import type { Json } from "../form/json.js";
import type { Config } from "./ext.js";

/** What the inputs of a form are made for. */
export interface FormContext {
  readonly access: "change" | "read";
  /** Files in which Luksmith itself keeps secrets. */
  readonly kept: ReadonlySet<string>;
  /** Pointers of the parts that are unfolded. */
  readonly unfolded: Set<string>;
  /** Somebody has typed; undefined leaves the property out. */
  typed(pointer: string, value: Json | undefined): void;
  /**
   * The settings get another shape: an item more or less, another branch. `reshape` gets what is there by then, with all
   * that was typed since the form was made. The form has to be made anew; the first input within `next` is what somebody
   * fills in then.
   */
  reshaped(pointer: string, reshape: (now: Json | undefined) => Json, next?: string): void;
  /** What else can be done with an item of a list. */
  tools(pointer: string, item: GroupField | VariantField): readonly Config[];
  /** Whether an item may be removed; asks whoever looks at it, if need be. */
  removal(pointer: string, remove: () => void): void;
}
