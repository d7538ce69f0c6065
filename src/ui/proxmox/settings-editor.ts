import type { SettingsGetOutput } from "../../generated/settings-get.js";
import type { SettingsPreviewOutput } from "../../generated/settings-preview.js";
import type { SettingsSetOutput } from "../../generated/settings-set.js";
import { type Draft, draftOf, edit, isChanged, rebased, secretsToTypeAgain } from "../form/draft.js";
import { settingsForm } from "../form/fields-of.js";
import { type Json, textIn } from "../form/json.js";
import { keystoresLost } from "../form/losses.js";
import { merge, type Merge } from "../form/merge.js";
import { getAt, parentOf } from "../form/pointer.js";
import { atFields, type FieldProblem, problemsIn } from "../form/problems.js";
import type { Component, Config } from "./ext.js";
import { formConfigs } from "./form-configs.js";
import type { FormContext } from "./form-context.js";
import type { Html } from "./html.js";
import * as words from "./messages.js";
import { removalAt } from "./removal-at.js";
import { type Request, request, RequestProblem } from "./requests.js";
import { SettingsView } from "./settings-view.js";

const URL = "/cluster/luksmith";

/** What somebody does with the settings in their panel. */
export class SettingsEditor {
  readonly #form = settingsForm();
  readonly #view: SettingsView;
  readonly #unfolded = new Set(["/keystores", "/profiles", "/rules"]);
  #draft: Draft | undefined;
  /** Keystores that whoever edits has agreed to give up. */
  #agreed: ReadonlySet<string> = new Set();

  constructor(
    private readonly panel: Component,
    private readonly access: FormContext["access"],
  ) {
    this.#view = new SettingsView(panel);
  }

  toolbar(): Config[] {
    const reload = { text: "Reset", itemId: "reset", iconCls: "fa fa-undo", handler: () => this.reload() };
    if (this.access === "read") return [{ ...reload, text: "Reload" }];
    const save = { text: "Save", itemId: "save", iconCls: "fa fa-floppy-o", disabled: true };
    return [{ ...save, handler: () => void this.save() }, reload];
  }

  /** Asks first where something would be lost that was typed. */
  reload(): void {
    const isTyped = this.#draft !== undefined && isChanged(this.#draft);
    if (isTyped) this.#ask("Load without saving", words.UNSAVED, () => void this.load());
    else void this.load();
  }

  /** What was typed is gone, as soon as the settings are read. */
  async load(): Promise<void> {
    await this.#trying(() => this.#read());
  }

  /** Asks first where keys may get out of reach. */
  async save(): Promise<void> {
    const draft = this.#draft;
    if (draft === undefined || this.#isIncomplete(words.NOT_SAVED)) return;
    const losses = keystoresLost(this.#form, draft.base, draft.edited);
    const lost = losses.map(({ name }) => name).filter((name) => !this.#agreed.has(name));
    if (lost.length === 0) await this.#trying(() => this.#save(draft));
    else this.#ask("Save settings", words.losing(lost), () => void this.#trying(() => this.#save(draft)));
  }

  async #read(): Promise<void> {
    const loaded = await this.#request<SettingsGetOutput>({ method: "GET", url: `${URL}/settings` });
    this.#draft = draftOf(loaded);
    this.#agreed = new Set();
    this.#view.say(words.loaded(loaded.path, this.access));
    this.#show();
  }

  async #save(draft: Draft): Promise<void> {
    const params = { settings: textOf(draft.edited), digest: draft.digest };
    const saved = await this.#request<SettingsSetOutput>({ method: "PUT", url: `${URL}/settings`, params });
    try {
      await this.#read();
    } catch (thrown) {
      // its digest is an old one, and secrets that are stored by now are in it as they were typed
      this.#forget();
      this.#view.say(words.unread(saved, problemOf(thrown)));
      return;
    }
    this.#view.say(words.saved(saved));
  }

  #forget(): void {
    this.#draft = undefined;
    this.#view.show([]);
    this.#settleButtons();
  }

  /** Tries a keystore as the form has it, whether it is saved or not: in a task, whose window shows what it says. */
  async test(pointer: string): Promise<void> {
    const { edited } = this.#draft ?? {};
    if (edited === undefined || this.#isIncomplete(words.NOT_TRIED)) return;
    const keystore = textIn(getAt(edited, pointer), "name");
    if (keystore === undefined) return;
    await this.#trying(async () => {
      const params = { settings: textOf(edited), keystore };
      const upid = await this.#request<string>({ method: "POST", url: `${URL}/test`, params });
      Ext.create("Proxmox.window.TaskViewer", { upid, autoShow: true });
    });
  }

  /** Which disks of this node the rules of the form speak for. */
  async preview(): Promise<void> {
    const { edited } = this.#draft ?? {};
    if (edited === undefined) return;
    await this.#trying(async () => {
      const params = { settings: textOf(edited) };
      const found = await this.#request<SettingsPreviewOutput>({
        method: "POST",
        url: `${URL}/preview`,
        params,
      });
      this.panel.down("[itemId=preview-result]")?.update(words.previewed(found).source);
    });
  }

  #request<T>(asked: Request): Promise<T> {
    return request<T>(this.panel, asked);
  }

  #ask(title: string, question: Html, confirmed: () => void): void {
    Ext.Msg.confirm(title, question.source, (answer) => {
      if (answer === "yes") confirmed();
    });
  }

  /** Says so as well. */
  #isIncomplete(heading: Html): boolean {
    const draft = this.#draft;
    const problems = draft === undefined ? [] : problemsIn(this.#form, draft.edited);
    if (problems.length > 0) this.#mark(heading, problems);
    return problems.length > 0;
  }

  #show(): void {
    const draft = this.#draft;
    if (draft === undefined || this.panel.destroyed === true) return;
    const configs = formConfigs(this.#form.fields, draft.edited, "", this.#context(draft));
    this.#view.show([...configs, ...this.#previewConfigs()]);
    this.#settleButtons();
  }

  #context(draft: Draft): FormContext {
    const enter = (pointer: string, value: Json | undefined) => {
      this.#draft = edit(this.#form, this.#draft ?? draft, pointer, value);
      this.#settleButtons();
    };
    return {
      access: this.access,
      kept: draft.kept,
      unfolded: this.#unfolded,
      typed: enter,
      reshaped: (pointer, reshape, next) => {
        enter(pointer, reshape(getAt(this.#draft?.edited, pointer)));
        this.#show();
        if (next !== undefined) this.#view.focusWithin(next);
      },
      tools: (pointer) => {
        if (parentOf(pointer) !== "/keystores") return [];
        const icon = "fa fa-plug";
        return [
          { xtype: "button", text: "Test connection", iconCls: icon, handler: () => void this.test(pointer) },
        ];
      },
      removal: (pointer, remove) => this.#confirmRemoval(pointer, remove),
    };
  }

  #previewConfigs(): Config[] {
    if (this.access === "read") return [];
    const text = "Which guests match";
    return [
      {
        xtype: "button",
        itemId: "preview",
        text,
        iconCls: "fa fa-search",
        handler: () => void this.preview(),
      },
      { xtype: "component", itemId: "preview-result", margin: "8 0 0 0", html: "" },
    ];
  }

  #confirmRemoval(pointer: string, remove: () => void): void {
    if (this.#draft === undefined) return;
    const removal = removalAt(this.#draft, pointer);
    switch (removal.kind) {
      case "free":
        remove();
        return;
      case "stays":
        this.#view.say(removal.message);
        return;
      case "losing":
        this.#ask("Remove keystore", words.losing(removal.names), () => {
          this.#agreed = new Set([...this.#agreed, ...removal.names]);
          remove();
        });
    }
  }

  async #trying(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (thrown) {
      this.#refused(thrown);
    }
  }

  #refused(thrown: unknown): void {
    const problem = problemOf(thrown);
    const { code, fields } = problem.more;
    if (code === "SETTINGS_CHANGED") {
      this.#offerMerge();
      return;
    }
    if (fields.length > 0) this.#mark(words.NOT_SAVED, atFields(this.#form, this.#draft?.edited, fields));
    else this.#view.say(words.problem(problem));
  }

  /** Somebody else was faster. What was typed stays, until whoever typed it has decided. */
  #offerMerge(): void {
    const load = () => this.reload();
    const mergeNow = () => void this.#trying(() => this.#merge());
    this.#view.say(words.LOST_RACE, [
      { xtype: "button", text: "Load the new settings", handler: load },
      { xtype: "button", text: "Put my changes on top", handler: mergeNow },
    ]);
  }

  async #merge(): Promise<void> {
    const draft = this.#draft;
    if (draft === undefined) return;
    const loaded = await this.#request<SettingsGetOutput>({ method: "GET", url: `${URL}/settings` });
    const { base, edited: mine } = draft;
    const merged = merge(this.#form, { base, mine, theirs: draftOf(loaded).base });
    if (merged.overlapping.length === 0) {
      this.#goOn(draft, loaded, merged.withAll);
      return;
    }
    this.#offerOverlap(draft, loaded, merged);
  }

  #offerOverlap(
    draft: Draft,
    loaded: SettingsGetOutput,
    { overlapping, withAll, withoutOverlap }: Merge,
  ): void {
    const take = (edited: Json | undefined) => () => this.#goOn(draft, loaded, edited);
    this.#view.say(words.overlap(this.#form, draft.edited, overlapping), [
      { xtype: "button", text: "Take mine there", handler: take(withAll) },
      { xtype: "button", text: "Take theirs there", handler: take(withoutOverlap) },
    ]);
  }

  /** From settings that somebody else has saved, with `edited` made of them. */
  #goOn(draft: Draft, loaded: SettingsGetOutput, edited: Json | undefined): void {
    this.#draft = rebased(draft, loaded, edited);
    this.#agreed = new Set();
    this.#view.say(words.MERGED);
    this.#show();
    const gone = secretsToTypeAgain(draft, loaded, edited);
    if (gone.length > 0) this.#mark(words.MERGED, gone);
  }

  /** At the fields, in a summary, and with the first of them in sight. */
  #mark(heading: Html, problems: readonly FieldProblem[]): void {
    this.#view.say(words.problems(heading, this.#form, this.#draft?.edited, problems));
    this.#view.mark(problems);
  }

  #settleButtons(): void {
    const changed = this.#draft !== undefined && isChanged(this.#draft);
    this.panel.down("#save")?.setDisabled(!changed);
  }
}

function problemOf(thrown: unknown): RequestProblem {
  return thrown instanceof RequestProblem ? thrown : new RequestProblem(String(thrown), { fields: [] });
}

/** As a person would write it: the file has it so. */
function textOf(settings: Json): string {
  return JSON.stringify(settings, undefined, 2);
}
