import { problemsOfGiven } from "../../settings/given-problems.js";
import { MISSING, SECRET_GONE } from "../../settings/problems.js";
import type { Field } from "./field.js";
import { inFormOrder } from "./form-order.js";
import type { Json } from "./json.js";
import { branchOf, fieldAt } from "./navigate.js";
import { getAt, type Pointer, parentOf, tokensOf, within } from "./pointer.js";
import { secretOf } from "./secrets.js";

/** One thing that is wrong, and the field that can put it right. */
export interface FieldProblem {
  readonly pointer: Pointer;
  /** Whole, with a period. */
  readonly sentence: string;
}

/** All that the engine would say against the settings. Leaves them as they are. */
export function problemsIn(form: Field, settings: Json | undefined): FieldProblem[] {
  return atFields(form, settings, problemsOfGiven(settings));
}

/** The engine's problems, at the fields of the form and in their order. */
export function atFields(
  form: Field,
  settings: Json | undefined,
  problems: readonly { readonly pointer: Pointer; readonly sentence: string }[],
): FieldProblem[] {
  const found = problems
    .filter(({ pointer }) => !waitsForChoice(form, settings, pointer))
    .map((problem) => atField(form, settings, problem));
  const once = found.filter(
    (one, index) =>
      found.findIndex(({ pointer, sentence }) => pointer === one.pointer && sentence === one.sentence) ===
      index,
  );
  return inFormOrder(form, settings, once);
}

/** The secret that is in the file which the setting at `pointer` names; undefined for every other setting. */
export function secretInFileAt(
  form: Field,
  settings: Json | undefined,
  pointer: Pointer,
): Pointer | undefined {
  const parent = parentOf(pointer);
  const secret = secretOf(tokensOf(pointer).at(-1) ?? "");
  if (parent === undefined || secret === undefined) return undefined;
  const place = within(parent, secret);
  return fieldAt(form, settings, place)?.kind === "secret" ? place : undefined;
}

/** Of what nobody has chosen the kind of, the choice is all that is missing: it has no other field yet. */
function waitsForChoice(form: Field, settings: Json | undefined, pointer: Pointer): boolean {
  const parent = parentOf(pointer);
  if (parent === undefined) return false;
  const field = fieldAt(form, settings, parent);
  const value = getAt(settings, parent);
  return (
    field?.kind === "variant" &&
    value !== undefined &&
    branchOf(field, value) === undefined &&
    pointer !== within(parent, field.tag)
  );
}

function atField(
  form: Field,
  settings: Json | undefined,
  { pointer, sentence }: { readonly pointer: Pointer; readonly sentence: string },
): FieldProblem {
  const secret = secretInFileAt(form, settings, pointer);
  const words = SECRET_SENTENCES.get(sentence);
  if (secret !== undefined && words !== undefined) return { pointer: secret, sentence: words };
  return { pointer, sentence: asSentence(sentence) };
}

/** What is said of the file, for the secret: typing it in puts either right. */
const SECRET_SENTENCES: ReadonlyMap<string, string> = new Map([
  [MISSING, "Type it in, or say below which file has it."],
  [SECRET_GONE, "The stored secret is gone. Type it in again, or say below which file has it."],
]);

function asSentence(clause: string): string {
  if (clause === MISSING) return "This is needed.";
  // the engine says which one by its place in the file
  const [, namesake] = /^is the name of (.+)s\[[0-9]+\] already$/.exec(clause) ?? [];
  if (namesake !== undefined) return `Another ${namesake} has this name.`;
  // a path or an address keeps its letters
  const begun = clause.replace(/^[a-z](?=[a-z]*\s)/, (letter) => letter.toUpperCase());
  const whole = /^(must|is)\b/.test(clause) ? `This ${clause}` : begun;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
