import { existsSync } from "node:fs";
import { liesOnDmCrypt } from "../block-stack.js";
import type { DataPlace } from "../data-place.js";
import { tpmStateOf } from "./tpm-state.js";

/** Kinds of files that come with use: until then nothing is there. */
const MADE_BY_USE = new Set<DataPlace["kind"]>(["nvram", "console-log", "snapshot-memory", "core-dump"]);

/** What a look at the place itself adds to what a definition says of it. */
export function asFound(place: DataPlace): DataPlace {
  const found = place.kind === "tpm-state" ? asItsState(place) : place;
  const { where, protection } = found;
  if (where?.startsWith("/") !== true || protection === "encrypted") return found;
  if (liesOnDmCrypt(where)) {
    const { kind, detail } = found;
    return { kind, where, protection: "encrypted", detail: `${detail}; dm-crypt of this host lies under it` };
  }
  if (protection === "plaintext" && MADE_BY_USE.has(found.kind) && !existsSync(where)) return notThere(found);
  return found;
}

/** The definition says how a new state is made; one that is there already stays as it is. */
function asItsState(place: DataPlace): DataPlace {
  if (place.protection === "possible" || place.where === undefined) return place;
  const state = tpmStateOf(place.where);
  if (state === undefined) return notThere(place);
  if (state === "encrypted" || place.protection === "plaintext") return { ...place, protection: state };
  const detail = `${place.detail}, and was made before: what is there is not encrypted`;
  return { ...place, protection: "plaintext", detail };
}

function notThere(place: DataPlace): DataPlace {
  return { ...place, protection: "possible", detail: `${place.detail}; not there now` };
}
