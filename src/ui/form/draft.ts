import type { SettingsGetOutput } from "../../generated/settings-get.js";
import type { Field, GroupField } from "./field.js";
import { enter } from "./edit.js";
import { isObject, type Json, type JsonObject, sameJson } from "./json.js";
import { type Pointer, setAt, tokensOf, within } from "./pointer.js";
import type { FieldProblem } from "./problems.js";
import { keptFiles, placesOfRemoved } from "./secrets.js";

/** Settings that somebody edits: what they were, and what is typed. */
export interface Draft {
  /** What the file says, without defaults. */
  readonly base: JsonObject;
  readonly digest: string;
  readonly edited: JsonObject;
  readonly kept: ReadonlySet<string>;
}

export function draftOf(loaded: SettingsGetOutput): Draft {
  const base = isObject(loaded.stored) ? loaded.stored : {};
  return { base, digest: loaded.digest, edited: base, kept: keptFiles(loaded) };
}

export function isChanged({ base, edited }: Draft): boolean {
  return !sameJson(base, edited);
}

export function edit(form: GroupField, draft: Draft, pointer: Pointer, entered: Json | undefined): Draft {
  const edited = enter(form, draft.edited, pointer, entered);
  return { ...draft, edited: settled(form, draft.base, isObject(edited) ? edited : {}, pointer) };
}

/**
 * What somebody typed, on top of settings that were saved in the meantime. Stored secrets that were removed by then do
 * not come back with what named them.
 */
export function rebased(draft: Draft, loaded: SettingsGetOutput, edited: Json | undefined): Draft {
  const onto = draftOf(loaded);
  const rest = placesOfRemoved(edited, draft.kept, loaded).reduce(
    (settings, { pointer, fileProperty }) => setAt(settings, within(pointer, fileProperty), undefined),
    edited,
  );
  return { ...onto, edited: isObject(rest) ? rest : onto.base };
}

/** The secrets that `rebased` could not keep and that nobody has typed anew. */
export function secretsToTypeAgain(
  draft: Draft,
  loaded: SettingsGetOutput,
  edited: Json | undefined,
): FieldProblem[] {
  return placesOfRemoved(edited, draft.kept, loaded)
    .filter(({ object, property }) => object[property] === undefined)
    .map(({ pointer, property }) => ({
      pointer: within(pointer, property),
      sentence: "The stored secret was removed in the meantime. Type it in again.",
    }));
}

/** A list that means again what it meant is as it was, written down or left out. */
function settled(form: GroupField, base: JsonObject, edited: JsonObject, pointer: Pointer): JsonObject {
  const [name] = tokensOf(pointer);
  const field = form.fields.find((candidate) => candidate.name === name);
  if (name === undefined || field?.kind !== "list") return edited;
  if (!sameJson(meant(field, base), meant(field, edited))) return edited;
  const was = base[name];
  // left out by then: enter() leaves a default out
  return was === undefined ? edited : { ...edited, [name]: was };
}

function meant({ name, fallback }: Field, settings: JsonObject): Json | undefined {
  return settings[name] ?? fallback;
}
