import { renderToStaticMarkup } from "react-dom/server";
import type { SettingsGetOutput } from "../../../src/generated/settings-get.js";
import type { UiRequest } from "../../../src/generated/ui-request.js";
import type { Answer } from "../../../src/ui/api/transport.js";
import { UiApi } from "../../../src/ui/api/ui-api.js";
import { draftOf, isChanged } from "../../../src/ui/form/draft.js";
import type { JsonObject } from "../../../src/ui/form/json.js";
import type { Pointer } from "../../../src/ui/form/pointer.js";
import { problemsIn } from "../../../src/ui/form/problems.js";
import { FORM } from "../../../src/ui/page/settings/form.js";
import { SettingsForm } from "../../../src/ui/page/settings/settings-form.js";
import type { Editor } from "../../../src/ui/page/settings/use-editor.js";

/** A host that is not asked anything: markup is made without effects. */
export const SILENT_API = new UiApi({
  run: (request: UiRequest): Promise<Answer> => Promise.reject(new Error(`asked for ${request.command}`)),
});

export function loadedFrom(stored: JsonObject, secretsSet: string[] = []): SettingsGetOutput {
  return {
    path: "/etc/luksmith/settings.json",
    digest: "0".repeat(64),
    settings: { version: 1 },
    stored,
    secretsSet,
  };
}

/** The settings as an editor has them right after somebody pressed Save: every problem is shown. */
export function editorOf(loaded: SettingsGetOutput, changes: Partial<Editor> = {}): Editor {
  const draft = changes.draft ?? draftOf(loaded);
  const problems = changes.problems ?? problemsIn(FORM, draft.edited);
  const nothing = () => undefined;
  return {
    ...{ draft, problems, changed: isChanged(draft), saving: false, outcome: { kind: "none" } },
    problemsAt: (pointer: Pointer) =>
      problems.filter((one) => one.pointer === pointer).map(({ sentence }) => sentence),
    ...{ asking: undefined, saveWithout: nothing, dontSave: nothing, agree: nothing },
    ...{ enter: nothing, touch: nothing, save: nothing, undo: nothing, load: nothing, continueFrom: nothing },
    ...changes,
  };
}

export function renderSettings(stored: JsonObject, secretsSet: string[] = []): string {
  return renderEditor(editorOf(loadedFrom(stored, secretsSet)));
}

export function renderEditor(editor: Editor): string {
  return renderToStaticMarkup(
    <SettingsForm api={SILENT_API} editor={editor} path="/etc/luksmith/settings.json" />,
  );
}

/** The text of a page, as people read it. */
export function textOf(html: string): string {
  return decode(html.replace(/<[^>]+>/g, " ")).replace(/\s+/g, " ");
}

/** The opening tag of the element with this id. */
export function tagWithId(html: string, id: string): string {
  const tag = new RegExp(`<[^>]* id="${id.replace(/[/.]/g, "\\$&")}"[^>]*>`).exec(html)?.[0];
  if (tag === undefined) throw new Error(`the page has no ${id}`);
  return tag;
}

/** The text of the element with this id, which has no element of its own name in it. */
export function textWithId(html: string, id: string): string {
  const tag = tagWithId(html, id);
  const rest = html.slice(html.indexOf(tag) + tag.length);
  const name = /^<(\w+)/.exec(tag)?.[1] ?? "";
  let depth = 1;
  for (const match of rest.matchAll(new RegExp(`<(/?)${name}\\b[^>]*>`, "g"))) {
    depth += match[1] === "/" ? -1 : 1;
    if (depth === 0) return textOf(rest.slice(0, match.index)).trim();
  }
  throw new Error(`${id} does not end`);
}

function decode(text: string): string {
  return text
    .replaceAll("&quot;", '"')
    .replaceAll("&#x27;", "'")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}
