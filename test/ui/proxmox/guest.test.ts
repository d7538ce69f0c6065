import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Asked, type Config, settled, type StandIn, StandInPage } from "./ext-stand-in.js";
import { panelBundle } from "./panel-bundle.js";

const HOSTILE = `<img src=x onerror="alert(1)">`;
const PLACE = {
  kind: "saved-memory",
  where: HOSTILE,
  protection: "plaintext",
  detail: "RAM",
  hint: "set vmstatestorage",
};
const DISK = { type: "disk", askedBy: [], protection: "encrypted", verdict: "protected" };
const GUEST = {
  id: "100",
  name: HOSTILE,
  running: true,
  problem: { code: "X", what: `cannot start ${HOSTILE}`, why: "why", hint: "what next" },
  disks: [
    {
      ...{
        ...DISK,
        device: "scsi0",
        volume: "enc:vm-100-disk-0",
        keystore: "vault",
        cipher: "aes-xts-plain64",
      },
      ...{ keySize: 512, keyCreatedAt: "2026-01-02T03:04:05Z", keyRotatedAt: "2026-02-03T04:05:06Z" },
    },
    {
      ...DISK,
      device: "scsi1",
      volume: HOSTILE,
      protection: "plain",
      verdict: "unprotected",
      askedBy: ["tag encrypt"],
    },
    {
      ...DISK,
      device: "scsi2",
      volume: "v",
      verdict: "unproven",
      problem: { code: "X", what: "keystore away" },
    },
  ],
  dataPlaces: [PLACE],
};

let script: string;
beforeAll(async () => {
  script = await panelBundle();
});

describe("a VM's entry in Proxmox VE", () => {
  let page: StandInPage;
  let panel: StandIn;
  let guest: object;
  let rotation: (asked: Asked) => void;

  beforeEach(async () => {
    page = new StandInPage();
    guest = GUEST;
    rotation = (asked) => asked.success({ result: { data: "UPID:1" } });
    page.respond = (asked) => {
      if (asked.method === "GET") asked.success({ result: { data: guest } });
      else rotation(asked);
    };
    page.load(script);
    panel = await open();
  });

  async function open(): Promise<StandIn> {
    const more = { pveSelNode: { data: { node: "node1", vmid: 100 } } };
    const entry = page.configPanel("PVE.qemu.Config", more).items.find(({ itemId }) => itemId === "luksmith");
    return page.open(entry!);
  }
  const message = () => panel.down("#message")!.html;
  const rotate = async () => {
    panel.down("#rotate")!.click();
    await settled();
  };

  it("asks the guest's own node", () => {
    expect(page.asked).toMatchObject([{ method: "GET", url: "/nodes/node1/qemu/100/luksmith" }]);
  });

  it("tells of each disk what it is", () => {
    const { rows } = panel.down("#disks")!;
    expect(rows).toMatchObject([
      {
        device: "scsi0",
        state: "Protected",
        cipher: "aes-xts-plain64, 512",
        keystore: "vault",
        since: "2026-02-03 04:05",
      },
      {
        device: "scsi1",
        state: "Not encrypted; asked for by tag encrypt",
        keystore: "",
        since: "",
      },
      { device: "scsi2", state: "Not known; keystore away" },
    ]);
    expect(panel.down("#places")!.rows).toEqual([
      { kind: "saved memory", protection: "plaintext", where: HOSTILE, detail: "RAM (set vmstatestorage)" },
    ]);
  });

  it("says why it would not start, and how a plain disk is encrypted here", async () => {
    expect(message()).toContain("It runs, and would not start again");
    expect(message()).toContain("what next");
    expect(message()).toContain("move it to a storage of type luksmith");

    guest = { ...GUEST, problem: undefined, disks: [GUEST.disks[0]] };
    panel = await open();
    expect(message()).toBe("");
  });

  it("shows names that are markup as text", () => {
    expect(message()).toContain("&#60;img");
    expect(message()).not.toContain("<img");
    for (const grid of ["#disks", "#places"]) {
      const columns = panel.down(grid)!.config["columns"] as readonly {
        renderer: (value: unknown) => string;
      }[];
      for (const { renderer } of columns) expect(renderer(HOSTILE)).not.toContain("<");
      expect(columns[0]!.renderer(undefined)).toBe("");
    }
  });

  it("has a column for everything that a row tells", () => {
    for (const grid of ["#disks", "#places"]) {
      const { config, rows } = panel.down(grid)!;
      const indexes = (config["columns"] as readonly Config[]).map(({ dataIndex }) => dataIndex);
      expect(new Set(rows.flatMap(Object.keys))).toEqual(new Set(indexes));
    }
  });

  it("gives the disk that is chosen a new passphrase, in a task that is shown", async () => {
    panel.down("#disks")!.selected = [{ device: "scsi0" }];
    await rotate();
    expect(page.questions[0]).toContain("disk scsi0 of VM 100");
    expect(page.asked[1]).toMatchObject({
      ...{ method: "POST", url: "/nodes/node1/qemu/100/luksmith/rotate", params: { disk: "scsi0" } },
    });
    expect(page.created).toMatchObject([{ name: "Proxmox.window.TaskViewer", config: { upid: "UPID:1" } }]);

    (page.created[0]!.config["taskDone"] as () => void)();
    expect(page.asked.at(-1)).toMatchObject({ method: "GET" });
  });

  it("gives all of them one where none is chosen, and none where somebody says no", async () => {
    await rotate();
    expect(page.asked[1]).toMatchObject({ params: {} });
    expect(page.questions[0]).toContain("all encrypted disks");
    page.answer = "no";
    await rotate();
    expect(page.asked).toHaveLength(2);
  });

  it("tells what the server refuses", async () => {
    rotation = (asked) =>
      asked.failure({ result: { status: 403, message: `Permission <b>check</b> failed` } });
    await rotate();
    expect(message()).toContain("Permission &#60;b&#62;check");
    expect(page.created).toEqual([]);
  });

  it("cannot be changed by those who may only look", async () => {
    page.capabilities = { vms: { "VM.Audit": 1 } };
    panel = await open();
    expect(panel.down("#rotate")).toBeNull();
  });
});
