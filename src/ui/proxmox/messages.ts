import type { SettingsPreviewOutput } from "../../generated/settings-preview.js";
import type { SettingsSetOutput } from "../../generated/settings-set.js";
import type { Change } from "../form/changes.js";
import type { Field } from "../form/field.js";
import type { Json } from "../form/json.js";
import type { FieldProblem } from "../form/problems.js";
import { changeWords, placeWords } from "../form/words.js";
import { type Html, markup } from "./html.js";
import type { RequestProblem } from "./requests.js";

const HOW_TO_ENCRYPT = "A disk is encrypted by moving it to a storage of type luksmith.";

export function loaded(path: string, access: "change" | "read"): Html {
  const may = access === "read" ? " Only root@pam may change them." : "";
  return markup`Settings of the cluster, in ${path}. ${HOW_TO_ENCRYPT}${may}`;
}

export function saved({ path, warnings }: SettingsSetOutput): Html {
  const heading = markup`<b>Saved</b>: ${path}`;
  return warnings.length === 0
    ? heading
    : markup`${heading}${list(warnings.map((warning) => markup`${warning}`))}`;
}

export function problem({ what, more: { why, hint } }: RequestProblem): Html {
  return markup`<b>${what}</b>${lines(why, hint)}`;
}

/** Saved, and nobody knows what the settings are now. */
export function unread(output: SettingsSetOutput, { what, more: { why } }: RequestProblem): Html {
  const next = "What is saved could not be read again, so nothing is shown here. To go on: Reset.";
  return markup`${saved(output)}${lines(next, what, why)}`;
}

export function problems(
  heading: Html,
  form: Field,
  settings: Json | undefined,
  found: readonly FieldProblem[],
): Html {
  const items = found.map(
    ({ pointer, sentence }) => markup`${placeWords(form, settings, pointer)}: ${sentence}`,
  );
  return markup`<b>${heading}</b>${list(items)}`;
}

export const NOT_SAVED = markup`Nothing was saved: something is missing or wrong.`;

export const NOT_TRIED = markup`Nothing was tried: something is missing or wrong.`;

export const LOST_RACE = lines(
  "Nothing was saved: somebody else has saved other settings since you opened them.",
  "What you have typed is still here.",
);

export const MERGED = markup`Your changes are on top of the new settings now. Look at them, then save.`;

export function overlap(form: Field, edited: Json, overlapping: readonly Change[]): Html {
  const words = overlapping.flatMap((change) => changeWords(form, edited, change));
  const items = words.map(({ place, after }) => markup`${place}: you want ${after}`);
  return markup`<b>Both of you have changed this:</b>${list(items)}`;
}

/** @param thing `Keystore` or `Profile`, with its name @param why and what to do first */
export function stays(thing: string, why: string): Html {
  return markup`<b>${thing} stays</b>: ${why}`;
}

export const UNSAVED = markup`The settings have changes that are not saved. They are lost if you load the settings of the cluster.`;

export function losing(names: readonly string[]): Html {
  const which = `${names.length === 1 ? "keystore" : "keystores"} ${names.join(", ")}`;
  const lost =
    "Guests whose keys lie there can no longer be started, on all nodes, and a stored secret is gone.";
  return markup`Do without ${which} as saved? ${lost} Move the keys first: luksmith keys migrate`;
}

export function previewed({ guests }: SettingsPreviewOutput): Html {
  if (guests.length === 0) return markup`This node has no guests.`;
  const rows = guests.flatMap((guest) => {
    const who = `${guest.name} (${guest.id})`;
    if (guest.problem !== undefined) return [row([who, "", "", markup`${guest.problem.what}`])];
    return guest.disks.map(({ device, rule, wish, profile, problem: conflict }) => {
      const how = wish === "encrypted" && profile !== undefined ? `, profile ${profile}` : "";
      return row([who, device, rule ?? "none", markup`${WISHES[wish]}${how}${lines(conflict?.what)}`]);
    });
  });
  const heading = ["Guest", "Disk", "Rule", "Is to be"].map(
    (text) => markup`<th style="text-align:left">${text}</th>`,
  );
  const whose = "Guests of this node, by the settings as they are here.";
  return markup`<table cellpadding="4"><tr>${heading}</tr>${rows}</table>${whose}`;
}

const WISHES = {
  encrypted: "encrypted",
  plain: "not encrypted",
  none: "nobody asks",
  conflict: "they disagree",
} as const;

function row(cells: readonly (string | Html)[]): Html {
  return markup`<tr>${cells.map((cell) => markup`<td>${cell}</td>`)}</tr>`;
}

function list(items: readonly Html[]): Html {
  return markup`<ul>${items.map((item) => markup`<li>${item}</li>`)}</ul>`;
}

/** Why, and what next, each on a line of its own. */
export function lines(...texts: readonly (string | undefined)[]): Html {
  return markup`${texts.filter((text) => text !== undefined && text !== "").map((text) => markup`<br />${text ?? ""}`)}`;
}
