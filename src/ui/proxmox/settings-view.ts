import { isWithin } from "../form/pointer.js";
import type { FieldProblem } from "../form/problems.js";
import type { Component, Config } from "./ext.js";
import { escaped, type Html } from "./html.js";

/** What can be seen of the settings in their panel. */
export class SettingsView {
  constructor(private readonly panel: Component) {}

  /** In the place of what was said before. */
  say(message: Html, choices: readonly Config[] = []): void {
    this.panel.down("[itemId=message]")?.update(message.source);
    const container = this.panel.down("[itemId=choices]");
    container?.removeAll();
    if (choices.length > 0) container?.add(choices);
    this.panel.setScrollY(0);
  }

  /** The form anew, at the place where it was. */
  show(configs: readonly Config[]): void {
    const container = this.panel.down("[itemId=form]");
    if (container === null) return;
    const y = this.panel.getScrollY();
    Ext.suspendLayouts();
    try {
      container.removeAll();
      container.add(configs);
    } finally {
      // without it nothing on the whole page would be laid out any more
      Ext.resumeLayouts(true);
    }
    this.panel.setScrollY(y);
  }

  /** At the fields, with the first of them in sight. */
  mark(problems: readonly FieldProblem[]): void {
    for (const part of this.panel.query("fieldset")) {
      if (problems.some(({ pointer }) => isWithin(pointer, part.pointer ?? pointer))) part.expand();
    }
    const wrong = this.#inputs().filter((input) => problems.some(({ pointer }) => pointer === input.pointer));
    for (const input of wrong) {
      const sentences = problems
        .filter(({ pointer }) => pointer === input.pointer)
        .map(({ sentence }) => sentence);
      input.markInvalid(escaped(sentences.join(" ")));
    }
    wrong[0]?.focus();
  }

  /** The first input of a part of the settings. */
  focusWithin(pointer: string): void {
    this.#inputs()
      .find((input) => isWithin(input.pointer ?? "", pointer))
      ?.focus();
  }

  /** What can be typed into or chosen from, in the form's order. */
  #inputs(): Component[] {
    return this.panel.query("field");
  }
}
