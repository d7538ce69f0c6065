// Luksmith in the web interface of Proxmox VE: one script, which pveproxy puts behind those of Proxmox VE.
import { defineGuestPanel } from "./guest-panel.js";
import { attempt, hookPanels } from "./hook.js";
import { defineSettingsPanel } from "./settings-panel.js";

attempt(() => {
  defineSettingsPanel();
  defineGuestPanel();
  // last: entries must not name panels that are not there
  hookPanels();
});
attempt(() =>
  Proxmox.Utils.override_task_descriptions?.({
    luksmithrotate: ["VM", "New passphrases"],
    luksmithtest: ["Keystore", "Test connection"],
  }),
);
