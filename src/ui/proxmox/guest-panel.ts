import type { StatusOutput } from "../../generated/status.js";
import type { Component, Config } from "./ext.js";
import { diskRows, guestMessage, placeRows } from "./guest-rows.js";
import { attempt } from "./hook.js";
import { escaped } from "./html.js";
import { problem } from "./messages.js";
import { request, RequestProblem } from "./requests.js";

interface GuestComponent extends Component {
  readonly nodename: string;
  readonly vmid: number | string;
  readonly mayRotate?: boolean;
}

type Guest = StatusOutput["guests"][number];

/** The entry of a VM: its disks as their headers and keys tell, and where data of it are besides. */
export function defineGuestPanel(): void {
  const stock = Ext.panel.Panel.prototype;
  Ext.define("PVE.luksmith.Guest", {
    extend: "Ext.panel.Panel",
    alias: "widget.pveLuksmithGuest",
    initComponent(this: GuestComponent) {
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
function fill(panel: GuestComponent): () => void {
  Ext.apply(panel, {
    scrollable: true,
    bodyPadding: 10,
    tbar: toolbar(panel),
    items: [
      { xtype: "component", itemId: "message", margin: "0 0 10 0", autoEl: MESSAGE, html: "" },
      grid("disks", "Disks", DISK_COLUMNS),
      grid("places", "Where other data of the guest are", PLACE_COLUMNS),
    ],
  });
  return () => void load(panel);
}

const MESSAGE = { tag: "div", role: "status", "aria-live": "polite" };

const DISK_COLUMNS = [
  column("Disk", "device", 90),
  column("State", "state", 220),
  column("Cipher", "cipher", 150),
  column("Keystore", "keystore", 120),
  column("Passphrase since", "since", 160),
  column("Volume", "volume", 280),
];
const PLACE_COLUMNS = [
  column("What", "kind", 130),
  column("Protection", "protection", 110),
  column("Where", "where", 280),
  column("Detail", "detail", 420),
];

/** A cell is markup to ExtJS, and a name can be anything. */
function column(text: string, dataIndex: string, width: number): Config {
  return {
    text,
    dataIndex,
    width,
    renderer: (value: unknown) => escaped(typeof value === "string" ? value : ""),
  };
}

function grid(itemId: string, title: string, columns: readonly Config[]): Config {
  const store = { fields: columns.map(({ dataIndex }) => dataIndex), data: [] };
  return { xtype: "grid", itemId, title, columns, store, margin: "0 0 10 0", emptyText: "There are none." };
}

function toolbar(panel: GuestComponent): Config[] {
  const reload = { text: "Reload", iconCls: "fa fa-refresh", handler: () => void load(panel) };
  if (panel.mayRotate !== true) return [reload];
  const text = "New passphrases";
  return [{ text, itemId: "rotate", iconCls: "fa fa-key", handler: () => confirmRotation(panel) }, reload];
}

async function load(panel: GuestComponent): Promise<void> {
  await trying(panel, async () => {
    const guest = await request<Guest>(panel, { method: "GET", url: urlOf(panel) });
    panel.down("[itemId=message]")?.update(guestMessage(guest).source);
    panel.down("[itemId=disks]")?.store?.setData(diskRows(guest));
    panel.down("[itemId=places]")?.store?.setData(placeRows(guest));
  });
}

function confirmRotation(panel: GuestComponent): void {
  const disk = panel.down("[itemId=disks]")?.getSelection()[0]?.data["device"];
  const which = typeof disk === "string" ? `disk ${disk}` : "all encrypted disks";
  const question = `Give ${which} of VM ${panel.vmid} new passphrases? The guest may go on running.`;
  Ext.Msg.confirm("New passphrases", escaped(question), (answer) => {
    if (answer === "yes") void rotate(panel, typeof disk === "string" ? { disk } : {});
  });
}

/** In a task, whose window shows what it says. */
async function rotate(panel: GuestComponent, params: Readonly<Record<string, string>>): Promise<void> {
  await trying(panel, async () => {
    const upid = await request<string>(panel, { method: "POST", url: `${urlOf(panel)}/rotate`, params });
    Ext.create("Proxmox.window.TaskViewer", { upid, autoShow: true, taskDone: () => void load(panel) });
  });
}

async function trying(panel: GuestComponent, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (thrown) {
    const found =
      thrown instanceof RequestProblem ? thrown : new RequestProblem(String(thrown), { fields: [] });
    panel.down("[itemId=message]")?.update(problem(found).source);
  }
}

function urlOf({ nodename, vmid }: GuestComponent): string {
  return `/nodes/${encodeURIComponent(nodename)}/qemu/${encodeURIComponent(vmid)}/luksmith`;
}
