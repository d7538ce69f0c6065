import { createContext, useContext } from "react";
import type { Json, JsonObject } from "../../form/json.js";
import type { Pointer } from "../../form/pointer.js";

/** What every field needs to know of the form that it is in. */
export interface FormState {
  readonly settings: JsonObject;
  /** Files in which Luksmith keeps secrets. */
  readonly kept: ReadonlySet<string>;
  /** Whole sentences, to be shown now. */
  readonly problemsAt: (pointer: Pointer) => readonly string[];
  readonly enter: (pointer: Pointer, value: Json | undefined) => void;
  /** Somebody has left the field: from now on it says what is wrong with it. */
  readonly touch: (pointer: Pointer) => void;
}

export const FormContext = createContext<FormState | undefined>(undefined);

export function useForm(): FormState {
  const form = useContext(FormContext);
  if (form === undefined) throw new Error("a field outside a form");
  return form;
}
