import type { Draft } from "../form/draft.js";
import { textIn } from "../form/json.js";
import { getAt, parentOf, tokensOf } from "../form/pointer.js";
import { profileRemovalOf, removalOf } from "../form/removal.js";
import { whyKeystoreStays, whyProfileStays } from "../words/stays.js";
import type { Html } from "./html.js";
import { stays } from "./messages.js";

/** What stands against taking an item out of a list of the form. */
export type RemovalAt =
  | { readonly kind: "free" }
  | { readonly kind: "stays"; readonly message: Html }
  /** Keys may lie in these keystores, as they are saved. */
  | { readonly kind: "losing"; readonly names: readonly string[] };

const FREE: RemovalAt = { kind: "free" };

export function removalAt(draft: Draft, pointer: string): RemovalAt {
  const index = Number(tokensOf(pointer).at(-1));
  const name = textIn(getAt(draft.edited, pointer), "name") ?? "without a name";
  const list = parentOf(pointer);
  if (list === "/keystores") return ofKeystore(draft, index, name);
  return list === "/profiles" ? ofProfile(draft, index, name) : FREE;
}

function ofKeystore({ base, edited }: Draft, index: number, name: string): RemovalAt {
  const removal = removalOf(base, edited, index);
  if (removal.kind === "new") return FREE;
  if (removal.kind === "saved") return { kind: "losing", names: removal.names };
  return { kind: "stays", message: stays(`Keystore ${name}`, whyKeystoreStays(removal)) };
}

function ofProfile({ edited }: Draft, index: number, name: string): RemovalAt {
  const removal = profileRemovalOf(edited, index);
  if (removal.kind === "free") return FREE;
  return { kind: "stays", message: stays(`Profile ${name}`, whyProfileStays(removal)) };
}
