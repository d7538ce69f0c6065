import type { Component } from "./ext.js";
import { attempt } from "./hook.js";
import { SettingsEditor } from "./settings-editor.js";

interface SettingsComponent extends Component {
  /** What whoever is logged in may do with the settings. */
  readonly mayChange?: boolean;
}

/** The entry of the datacenter: the settings, which are the cluster's. */
export function defineSettingsPanel(): void {
  const stock = Ext.panel.Panel.prototype;
  Ext.define("PVE.luksmith.Settings", {
    extend: "Ext.panel.Panel",
    alias: "widget.pveLuksmithSettings",
    initComponent(this: SettingsComponent) {
      let start: (() => void) | undefined;
      attempt(() => {
        start = fill(this);
      });
      stock.initComponent.call(this);
      this.on("afterrender", () => attempt(() => start?.()));
    },
  });
}

/** What the entry is made of. Returns what begins once it is there. */
function fill(panel: SettingsComponent): () => void {
  const editor = new SettingsEditor(panel, panel.mayChange === true ? "change" : "read");
  Ext.apply(panel, {
    scrollable: true,
    bodyPadding: 10,
    tbar: editor.toolbar(),
    items: [
      { xtype: "component", itemId: "message", margin: "0 0 10 0", autoEl: MESSAGE, html: "" },
      { xtype: "container", itemId: "choices", margin: "0 0 10 0", items: [] },
      { xtype: "container", itemId: "form", layout: "anchor", maxWidth: 900, items: [] },
    ],
  });
  return () => void editor.load();
}

/** What is written into it later is read aloud. */
const MESSAGE = { tag: "div", role: "status", "aria-live": "polite" };
