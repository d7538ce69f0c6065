import { useMemo, useState } from "react";
import type { SettingsGetOutput } from "../../../generated/settings-get.js";
import { CommandProblem, type UiApi } from "../../api/ui-api.js";
import { type Draft, draftOf, edit, isChanged, rebased, secretsToTypeAgain } from "../../form/draft.js";
import type { Field } from "../../form/field.js";
import type { Json } from "../../form/json.js";
import { keystoresLost, type Loss } from "../../form/losses.js";
import { fieldAt } from "../../form/navigate.js";
import { isWithin, parentOf, type Pointer } from "../../form/pointer.js";
import { inFormOrder } from "../../form/form-order.js";
import { atFields, type FieldProblem, problemsIn, secretInFileAt } from "../../form/problems.js";
import { FORM } from "./form.js";

/** What became of the last thing that was asked of the host. */
export type Outcome =
  | { readonly kind: "none" }
  | { readonly kind: "saved"; readonly warnings: readonly string[] }
  | { readonly kind: "invalid" }
  | { readonly kind: "failed"; readonly error: unknown }
  /** Somebody else has saved in the meantime. */
  | { readonly kind: "lost" }
  /** Saved, but what was made of it could not be read: it must be, before anything else is saved. */
  | { readonly kind: "unread"; readonly error: unknown }
  | { readonly kind: "merged" };

export interface Editor {
  readonly draft: Draft;
  readonly changed: boolean;
  readonly saving: boolean;
  readonly outcome: Outcome;
  /** All that is wrong, shown at its field or not yet. */
  readonly problems: readonly FieldProblem[];
  readonly problemsAt: (pointer: Pointer) => readonly string[];
  readonly enter: (pointer: Pointer, value: Json | undefined) => void;
  readonly touch: (pointer: Pointer) => void;
  readonly save: () => void;
  /** What the save waits for: whether the keys of this keystore may get out of reach. */
  readonly asking: Loss | undefined;
  /** Saves though the keys of the keystore get out of reach. */
  readonly saveWithout: (keystore: string) => void;
  readonly dontSave: () => void;
  /** Saved keystores that may go, as far as the next save is concerned. */
  readonly agree: (keystores: readonly string[]) => void;
  readonly undo: () => void;
  /** Starts anew from what the host has now. */
  readonly load: () => void;
  /** Goes on from settings that somebody else has saved, with `edited` made of them. */
  readonly continueFrom: (theirs: SettingsGetOutput, edited: Json | undefined) => void;
}

/** The fields that say what is wrong with them. */
type Touched = ReadonlySet<Pointer> | "all";

/** The settings as they are edited, from what was loaded to what is saved. */
export function useEditor(api: UiApi, loaded: SettingsGetOutput, reload: () => void): Editor {
  const [draft, setDraft] = useState(() => draftOf(loaded));
  const [outcome, setOutcome] = useState<Outcome>({ kind: "none" });
  const [saving, setSaving] = useState(false);
  const [touched, setTouched] = useState<Touched>(new Set());
  const [refused, setRefused] = useState<readonly FieldProblem[]>([]);
  const [agreed, setAgreed] = useState<readonly string[]>([]);
  const [asking, setAsking] = useState<Loss>();
  const own = useMemo(() => problemsIn(FORM, draft.edited), [draft.edited]);
  const problems = inFormOrder(FORM, draft.edited, [
    ...refused,
    ...own.filter((one) => !refused.some((other) => other.pointer === one.pointer)),
  ]);

  const begin = (next: Draft, after: Outcome) => {
    setDraft(next);
    setTouched(new Set());
    setRefused([]);
    setAgreed([]);
    setOutcome(after);
  };
  const save = async (mayGo: readonly string[]) => {
    setTouched("all");
    if (own.length > 0) {
      setOutcome({ kind: "invalid" });
      return;
    }
    const loss = lossToAsk(draft, mayGo);
    setAgreed(mayGo);
    setAsking(loss);
    if (loss !== undefined) return;
    setOutcome({ kind: "none" });
    setSaving(true);
    try {
      const { warnings } = await api.save(draft.edited, draft.digest);
      try {
        // the host has put secrets into files, which the next save must name
        begin(draftOf(await api.settings()), { kind: "saved", warnings });
      } catch (error) {
        begin({ ...draft, base: draft.edited }, { kind: "unread", error });
      }
    } catch (error) {
      const fields = error instanceof CommandProblem ? (error.problem.fields ?? []) : [];
      setRefused(atFields(FORM, draft.edited, fields));
      setOutcome(outcomeOf(error));
    } finally {
      setSaving(false);
    }
  };
  return {
    draft,
    changed: isChanged(draft),
    saving,
    outcome,
    problems,
    problemsAt: (pointer) => {
      const shown = touched === "all" || touched.has(pointer) ? problems : refused;
      return shown.filter((problem) => problem.pointer === pointer).map(({ sentence }) => sentence);
    },
    enter: (pointer, value) => {
      setDraft((before) => edit(FORM, before, pointer, value));
      if (isWhole(fieldAt(FORM, draft.edited, pointer)))
        setTouched((before) => untouchedFrom(before, pointer));
      const secret = secretInFileAt(FORM, draft.edited, pointer);
      setRefused((before) =>
        before.filter(
          (one) =>
            !isWithin(one.pointer, pointer) && !isWithin(pointer, one.pointer) && one.pointer !== secret,
        ),
      );
    },
    touch: (pointer) => setTouched((before) => (before === "all" ? before : new Set([...before, pointer]))),
    save: () => void save(agreed),
    asking,
    saveWithout: (keystore) => void save([...agreed, keystore]),
    dontSave: () => setAsking(undefined),
    agree: (keystores) => setAgreed((before) => [...before, ...keystores]),
    undo: () => begin({ ...draft, edited: draft.base }, { kind: "none" }),
    load: reload,
    continueFrom: (theirs, edited) => {
      const missing = secretsToTypeAgain(draft, theirs, edited);
      begin(rebased(draft, theirs, edited), { kind: missing.length > 0 ? "invalid" : "merged" });
      setRefused(missing);
    },
  };
}

/** The first keystore whose keys get out of reach and that nobody has agreed to lose. */
export function lossToAsk({ base, edited }: Draft, agreed: readonly string[]): Loss | undefined {
  return keystoresLost(FORM, base, edited).find(({ name }) => !agreed.includes(name));
}

/** What has fields of its own: it comes and goes with them, and the items of its list move up. */
function isWhole(field: Field | undefined): boolean {
  return field !== undefined && ["group", "variant", "list"].includes(field.kind);
}

function untouchedFrom(touched: Touched, pointer: Pointer): Touched {
  const around = parentOf(pointer) ?? "";
  return touched === "all" ? touched : new Set([...touched].filter((one) => !isWithin(one, around)));
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof CommandProblem)) return { kind: "failed", error };
  if (error.problem.code === "SETTINGS_CHANGED") return { kind: "lost" };
  return error.problem.code === "SETTINGS_INVALID" && error.problem.fields !== undefined
    ? { kind: "invalid" }
    : { kind: "failed", error };
}
