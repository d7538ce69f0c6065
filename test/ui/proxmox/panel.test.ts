import { beforeAll, describe, expect, it } from "vitest";
import { type Config, StandInPage } from "./ext-stand-in.js";
import { panelBundle } from "./panel-bundle.js";

let script: string;
beforeAll(async () => {
  script = await panelBundle();
});

const VM: Config = { pveSelNode: { data: { node: "node1", vmid: 100 } } };
const idsOf = ({ items }: { readonly items: readonly Config[] }) => items.map(({ itemId }) => itemId);

function loaded(prepare: (page: StandInPage) => void = () => undefined): StandInPage {
  const page = new StandInPage();
  prepare(page);
  page.load(script);
  return page;
}

describe("the script", () => {
  it("is a classic one that is not strict, and leaves no name of its own on the page", () => {
    expect(script).not.toMatch(/["'`]use strict["'`]/);
    expect(script).not.toMatch(/^\s*(import|export)\b/m);
    const page = new StandInPage();
    const before = Object.keys(page.globals);
    page.load(script);
    expect(Object.keys(page.globals)).toEqual(before);
    expect(page.errors).toEqual([]);
  });

  it("makes no code of texts, and asks no other server", () => {
    expect(script).not.toMatch(/\beval\s*\(|new Function\b/);
    expect(script).not.toMatch(/\bfetch\s*\(|XMLHttpRequest|importScripts/);
  });

  it("names its task in the task list", () => {
    expect(Object.keys(loaded().taskDescriptions)).toEqual(["luksmithrotate", "luksmithtest"]);
  });
});

describe("entries in the panels of Proxmox VE", () => {
  it("are behind the storages of the datacenter, and behind the hardware of a VM", () => {
    const page = loaded();
    expect(idsOf(page.configPanel("PVE.dc.Config"))).toEqual(["summary", "storage", "luksmith", "backup"]);
    expect(idsOf(page.configPanel("PVE.qemu.Config", VM))).toEqual([
      "summary",
      "hardware",
      "luksmith",
      "options",
    ]);
  });

  it("name panels that are there", () => {
    const page = loaded();
    for (const panel of [page.configPanel("PVE.dc.Config"), page.configPanel("PVE.qemu.Config", VM)]) {
      const entry = panel.items.find(({ itemId }) => itemId === "luksmith");
      expect([...page.classes.keys()]).toContain(entry?.["xtype"]);
    }
  });

  it.each([
    ["nobody may anything", undefined, VM],
    ["nothing is said of a kind of place", {}, VM],
    ["the privilege is missing", { dc: { "Sys.Modify": 1 }, vms: { "VM.Config.Disk": 1 } }, VM],
    ["the VM is unknown", { dc: {}, vms: { "VM.Audit": 1 } }, {}],
  ])("are not there where %s", (_, capabilities, more) => {
    const page = loaded((fresh) => (fresh.capabilities = capabilities));
    expect(idsOf(page.configPanel("PVE.dc.Config"))).toEqual(["summary", "storage", "backup"]);
    expect(idsOf(page.configPanel("PVE.qemu.Config", more))).toEqual(["summary", "hardware", "options"]);
  });

  it.each(["alice@pve", "root@pve", "root@pam!token", undefined])(
    "let %s look at the settings only",
    (user) => {
      const page = loaded((fresh) => (fresh.userName = user));
      expect(page.configPanel("PVE.dc.Config").items).toContainEqual(
        expect.objectContaining({ mayChange: false }),
      );
    },
  );

  it("let root@pam change the settings", () => {
    expect(loaded().configPanel("PVE.dc.Config").items).toContainEqual(
      expect.objectContaining({ mayChange: true }),
    );
  });

  it("let those who may look at a VM only look", () => {
    const page = loaded((fresh) => (fresh.capabilities = { dc: {}, vms: { "VM.Audit": 1 } }));
    expect(page.configPanel("PVE.qemu.Config", VM).items).toContainEqual(
      expect.objectContaining({ mayRotate: false }),
    );
  });

  it("are not in other panels, and once in a panel", () => {
    const page = loaded();
    page.load(script);
    expect(idsOf(page.configPanel("PVE.node.Config"))).not.toContain("luksmith");
    const ids = idsOf(page.configPanel("PVE.dc.Config"));
    expect(ids.filter((id) => id === "luksmith")).toHaveLength(1);
    expect(page.errors).toEqual([]);
  });

  it("are at the end where the stock entry is gone", () => {
    const items = [{ itemId: "summary" }, { itemId: "other" }];
    expect(idsOf(loaded().configPanel("PVE.dc.Config", { items }))).toEqual(["summary", "other", "luksmith"]);
  });
});

describe("a web interface that is not what it was", () => {
  const fail = () => {
    throw new Error("not as it was");
  };
  const part = (page: StandInPage, name: string) =>
    page.globals[name] as Record<string, Record<string, unknown>>;

  it.each<[string, (page: StandInPage) => void]>([
    ["no classes can be defined", (page) => (part(page, "Ext")["define"] = fail as never)],
    ["there is no ExtJS", (page) => delete page.globals["Ext"]],
    ["there is no state", (page) => (part(page, "Ext")["state"] = {})],
    ["capabilities fail", (page) => (part(page, "Ext")["state"] = { Manager: { get: fail } })],
    ["capabilities are something else", (page) => (page.capabilities = { dc: 7, vms: null })],
    ["there is no task list", (page) => (part(page, "Proxmox")["Utils"] = {})],
    ["the task list fails", (page) => (part(page, "Proxmox")["Utils"]!["override_task_descriptions"] = fail)],
    ["there is no toolkit", (page) => delete page.globals["Proxmox"]],
  ])("has its stock panels where %s", (_, prepare) => {
    const page = loaded(prepare);
    const panel = page.configPanel("PVE.dc.Config");
    expect(panel.stock).toBe(1);
    expect(idsOf(panel)).toEqual(expect.arrayContaining(["summary", "storage", "backup"]));
  });

  it.each([
    ["items are none", { items: undefined }],
    ["items are an object", { items: { itemId: "x" } }],
    ["items hold something else", { items: ["-", null] }],
    ["items cannot be changed", { items: Object.freeze([{ itemId: "storage" }]) }],
  ])("has its stock panels where %s", (_, more) => {
    const panel = loaded().configPanel("PVE.dc.Config", more);
    expect(panel.stock).toBe(1);
  });

  it.each<[string, (page: StandInPage) => void]>([
    ["PVE", (page) => delete page.globals["PVE"]],
    ["PVE.panel", (page) => (page.globals["PVE"] = {})],
    ["PVE.panel.Config", (page) => (page.globals["PVE"] = { panel: {} })],
  ])("is loaded without a word to the page where %s is gone", (_, prepare) => {
    const page = new StandInPage();
    prepare(page);
    expect(() => page.load(script)).not.toThrow();
    expect(page.errors).toHaveLength(1);
  });

  it("opens an entry that cannot be filled, empty", async () => {
    const page = loaded();
    const entry = page.configPanel("PVE.dc.Config").items.find(({ itemId }) => itemId === "luksmith");
    part(page, "Ext")["apply"] = fail as never;
    const opened = await page.open(entry!);
    expect(opened.children).toEqual([]);
    expect(page.errors).toHaveLength(1);
  });

  it("goes on being laid out where a form cannot be shown", async () => {
    const page = loaded();
    let suspended = 0;
    const ext = page.globals["Ext"] as Record<string, unknown>;
    Object.assign(ext, { suspendLayouts: () => (suspended += 1), resumeLayouts: () => (suspended -= 1) });
    page.respond = (asked) => asked.success({ result: { data: { path: "/x", stored: {}, secretsSet: [] } } });
    const entry = page.configPanel("PVE.dc.Config").items.find(({ itemId }) => itemId === "luksmith");
    await page.open(entry!, (component) => (component.down("#form")!.add = fail));
    expect(suspended).toBe(0);
  });

  it("has the error of its own method, with what it was given", () => {
    const page = new StandInPage();
    const prototype = (part(page, "PVE")["panel"] as { Config: { prototype: Record<string, unknown> } })
      .Config.prototype;
    prototype["initComponent"] = () => fail();
    page.load(script);
    expect(() => page.configPanel("PVE.dc.Config")).toThrow("not as it was");
  });
});
