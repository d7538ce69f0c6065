import type { Capabilities, Component, Config } from "./ext.js";

/** Where in the tree of a configuration panel ours goes: behind the stock entry of that itemId, or at the end. */
interface Place {
  readonly after: string;
  entries(panel: Component, capabilities: Capabilities): readonly Config[];
}

const PLACES: Readonly<Record<string, Place>> = {
  "PVE.dc.Config": {
    after: "storage",
    entries: (_, { dc }) => {
      if (!dc?.["Sys.Audit"]) return [];
      const look = { title: "Disk Encryption", iconCls: "fa fa-key", itemId: "luksmith" };
      return [{ ...look, xtype: "pveLuksmithSettings", mayChange: Proxmox.UserName === "root@pam" }];
    },
  },
  "PVE.qemu.Config": {
    after: "hardware",
    entries: ({ pveSelNode }, { vms }) => {
      const { node, vmid } = pveSelNode?.data ?? {};
      if (!vms?.["VM.Audit"] || node === undefined || vmid === undefined) return [];
      const look = { title: "Encryption", iconCls: "fa fa-lock", itemId: "luksmith" };
      const mayRotate = Boolean(vms["VM.Config.Disk"]);
      return [{ ...look, xtype: "pveLuksmithGuest", nodename: node, vmid, mayRotate }];
    },
  },
};

/**
 * Adds our entries to Proxmox VE's configuration panels, all of which pass through one method. Its own method runs
 * whatever happens here.
 */
export function hookPanels(): void {
  const { prototype } = PVE.panel.Config;
  const { initComponent: stock } = prototype;
  prototype.initComponent = function (this: Component, ...given: unknown[]) {
    attempt(() => addEntries(this));
    return stock.apply(this, given);
  };
}

/** Whatever is wrong with us must not become the page's problem. */
export function attempt(action: () => void): void {
  try {
    action();
  } catch (thrown) {
    console.error("luksmith:", thrown);
  }
}

function addEntries(panel: Component): void {
  const place = PLACES[panel.$className ?? ""];
  const { items } = panel;
  if (place === undefined || !Array.isArray(items)) return;
  const entries = place.entries(panel, Ext.state.Manager.get("GuiCap") ?? {});
  const stock = items as { readonly itemId?: unknown }[];
  if (entries.length === 0 || stock.some(({ itemId }) => itemId === "luksmith")) return;
  const index = stock.findIndex(({ itemId }) => itemId === place.after);
  stock.splice(index === -1 ? stock.length : index + 1, 0, ...entries);
}
