import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Asked, settled, type StandIn, StandInPage } from "./ext-stand-in.js";
import { panelBundle } from "./panel-bundle.js";

const PATH = "/etc/pve/luksmith/settings.json";
const KEPT = "/etc/pve/priv/luksmith/secrets/vault-password-000000000001";
const KEYSTONE = { method: "password", url: "https://keystone.example/v3", user: "luksmith", project: "vms" };
const VAULT = { name: "vault", type: "barbican", keystone: { ...KEYSTONE, passwordFile: KEPT } };
const STORED = { version: 1, keystores: [VAULT, { name: "old", type: "file" }], rules: [{ name: "all" }] };

let script: string;
beforeAll(async () => {
  script = await panelBundle();
});

/** The API of Proxmox VE with settings, which refuses what is late. */
class Api {
  stored: unknown = structuredClone(STORED);
  digest = "1".repeat(64);
  saved: unknown[] = [];
  /** Instead of what follows, for one request. */
  next: ((asked: Asked) => void) | undefined;
  test: unknown;
  preview: unknown;

  readonly respond = (asked: Asked): void => {
    const { next } = this;
    this.next = undefined;
    if (next !== undefined) next(asked);
    else if (asked.method === "GET") asked.success({ result: { data: this.#read() } });
    else if (asked.url.endsWith("/settings")) this.#save(asked);
    else asked.success({ result: { data: asked.url.endsWith("/test") ? this.test : this.preview } });
  };

  #read() {
    const stored = structuredClone(this.stored);
    return {
      path: PATH,
      digest: this.digest,
      settings: {},
      stored,
      secretsSet: ["/keystores/0/keystone/password"],
    };
  }

  #save(asked: Asked): void {
    const { params } = asked;
    if (params?.["digest"] !== this.digest) {
      const errors = { code: "SETTINGS_CHANGED", cause: "they are others" };
      asked.failure({ result: { status: 409, message: "cannot save the settings", errors } });
      return;
    }
    this.stored = JSON.parse(params["settings"]!) as unknown;
    this.saved.push(this.stored);
    this.digest = String(Number(this.digest[0]) + 1).repeat(64);
    asked.success({
      result: {
        data: { change: "saved", path: PATH, digest: this.digest, warnings: ["<b>old</b> is gone"] },
      },
    });
  }
}

describe("the settings in Proxmox VE", () => {
  let page: StandInPage;
  let api: Api;
  let panel: StandIn;

  beforeEach(async () => {
    page = new StandInPage();
    api = new Api();
    page.respond = api.respond;
    page.load(script);
    panel = await open();
  });

  async function open(): Promise<StandIn> {
    const entry = page.configPanel("PVE.dc.Config").items.find(({ itemId }) => itemId === "luksmith");
    return page.open(entry!);
  }

  const at = (pointer: string) => panel.query("field").find((input) => input.pointer === pointer)!;
  const part = (pointer: string) => panel.query("fieldset").find((found) => found.pointer === pointer)!;
  const button = (text: string, within: StandIn = panel) =>
    within.all.find(({ config }) => config["text"] === text && config["handler"] !== undefined)!;
  const message = () => panel.down("#message")!.html;
  const press = async (text: string, within?: StandIn) => {
    button(text, within).click();
    await settled();
  };
  const fails = (result: object) => (asked: Asked) => asked.failure({ result });

  it("are read, and cannot be saved before somebody has changed them", () => {
    expect(page.asked).toMatchObject([{ method: "GET", url: "/cluster/luksmith/settings" }]);
    expect(message()).toContain(PATH);
    expect(at("/keystores/0/keystone/user").config).toMatchObject({ value: "luksmith" });
    expect(panel.down("#save")!.disabled).toBe(true);
  });

  it("are saved as the file had them, with what was typed", async () => {
    at("/logFile").type("/var/log/x.log");
    expect(panel.down("#save")!.disabled).toBe(false);
    await press("Save");

    expect(api.saved).toEqual([{ ...STORED, logFile: "/var/log/x.log" }]);
    expect(page.asked[1]).toMatchObject({ method: "PUT", params: { digest: "1".repeat(64) } });
    expect(page.asked[1]?.params?.["settings"]).toContain('\n  "version": 1,');
    expect(message()).toContain("Saved");
    expect(message()).toContain("&#60;b&#62;old&#60;/b&#62; is gone");
    expect(panel.down("#save")!.disabled).toBe(true);
  });

  it("are what they were when what was typed is taken away again", () => {
    at("/logFile").type("/x");
    at("/logFile").type("");
    expect(panel.down("#save")!.disabled).toBe(true);
  });

  it("hold texts, numbers, choices, and lists of texts", async () => {
    at("/headers/keep").type(7);
    at("/audit/required").type("true");
    at("/logLevel").type("debug");
    at("/keystores/0/projectId").type("p1");
    await press("Add to Profiles");
    at("/profiles/1/name").type("strong");
    at("/profiles/1/recovery").type(" age1qqqqqqqqqqqqqqqqqqqqqqqqq \n\n");
    await press("Save");
    expect(message()).toContain("Saved");
    expect(api.saved[0]).toMatchObject({
      headers: { keep: 7 },
      audit: { required: true },
      logLevel: "debug",
      keystores: [{ projectId: "p1" }, {}],
      profiles: [{ name: "default" }, { name: "strong", recovery: ["age1qqqqqqqqqqqqqqqqqqqqqqqqq"] }],
    });
  });

  it("take a secret, which is not on the page and not in the settings afterwards", async () => {
    const input = at("/keystores/0/keystone/password");
    expect(input.config).toMatchObject({ inputType: "password", value: "" });
    input.type("correct horse");
    expect(panel.markup).not.toContain("correct horse");
    await press("Save");
    expect(api.saved[0]).toMatchObject({
      keystores: [{ keystone: { password: "correct horse", passwordFile: KEPT } }, {}],
    });
    expect(at("/keystores/0/keystone/password").config["value"]).toBe("");
  });

  it("lose what belonged to another type of keystore, and the stored secret with it", async () => {
    at("/keystores/0/type").type("file");
    expect(at("/keystores/0/keystone/password")).toBeUndefined();
    await press("Save");
    expect(api.saved[0]).toMatchObject({ keystores: [{ name: "vault", type: "file" }, {}] });
    expect(JSON.stringify(api.saved[0])).not.toContain(KEPT);
  });

  it("get a keystore more, and a type for it", async () => {
    await press("Add to Keystores");
    expect(at("/keystores/2/type").focused).toBe(true);
    at("/keystores/2/type").type("file");
    at("/keystores/2/name").type("new");
    await press("Save");
    expect(api.saved[0]).toMatchObject({ keystores: [{}, {}, { name: "new", type: "file" }] });
  });

  it("keep what was typed when the form is made anew", async () => {
    at("/keystores/1/directory").type("/typed");
    await press("Add to Keystores");
    at("/keystores/2/type").type("vault");
    at("/keystores/2/name").type("third");
    at("/keystores/2/type").type("file");
    await press("Up", part("/keystores/2"));
    await press("Remove", part("/keystores/2"));
    await press("Save");
    expect(api.saved[0]).toMatchObject({ keystores: [{ name: "vault" }, { name: "third", type: "file" }] });
  });

  it("have their rules in another order", async () => {
    await press("Add to Rules");
    at("/rules/1/name").type("web");
    await press("Up", part("/rules/1"));
    await press("Save");
    expect(api.saved[0]).toMatchObject({ rules: [{ name: "web" }, { name: "all" }] });
  });

  describe("that are wrong", () => {
    it("are not sent, and the field says why", async () => {
      at("/headers/directory").type("not absolute");
      await press("Save");
      expect(api.saved).toEqual([]);
      expect(page.asked).toHaveLength(1);
      expect(at("/headers/directory").invalid).toMatch(/^This must/);
      expect(at("/headers/directory").focused).toBe(true);
      expect(part("/headers").collapsed).toBe(false);
      expect(message()).toContain("Header backups › Directory");
    });

    it("are shown at the field that the server names", async () => {
      at("/logFile").type("/x");
      const errors = { "/keystores/1/directory": "is <i>full</i>", code: "SETTINGS_INVALID", cause: "x" };
      api.next = fails({ status: 400, message: "cannot save", errors });
      await press("Save");
      expect(at("/keystores/1/directory").invalid).toContain("&#60;i&#62;full");
      expect(message()).toContain("Keystores › old");
      expect(message()).not.toContain("<i>");
    });

    it("are told where no field has the place", async () => {
      at("/logFile").type("/x");
      api.next = fails({
        status: 400,
        message: "no",
        errors: { "/a]b\\/c": "must not be", code: "SETTINGS_INVALID" },
      });
      await press("Save");
      expect(message()).toContain("must not be");
    });
  });

  describe("that somebody else has saved meanwhile", () => {
    const theirs = { ...STORED, logLevel: "error" };

    async function loseRace(): Promise<void> {
      at("/logFile").type("/mine.log");
      api.stored = theirs;
      api.digest = "5".repeat(64);
      await press("Save");
    }

    it("are not overwritten, and what was typed stays", async () => {
      await loseRace();
      expect(api.saved).toEqual([]);
      expect(message()).toContain("somebody else has saved");
      expect(at("/logFile")).toBeDefined();
    });

    it("are loaded on demand", async () => {
      await loseRace();
      await press("Load the new settings");
      expect(at("/logLevel").config["value"]).toBe("error");
      expect(at("/logFile").config["value"]).toBe("");
      expect(panel.down("#choices")!.children).toEqual([]);
    });

    it("are not loaded over what was typed without a question", async () => {
      await loseRace();
      page.answer = "no";
      await press("Load the new settings");
      expect(page.questions).toEqual([expect.stringContaining("They are lost")]);
      expect(panel.down("#save")!.disabled).toBe(false);
    });

    it("get what was typed on top of them", async () => {
      await loseRace();
      await press("Put my changes on top");
      expect(at("/logFile").config["value"]).toBe("/mine.log");
      await press("Save");
      expect(api.saved).toEqual([{ ...theirs, logFile: "/mine.log" }]);
    });

    it("have stored secrets no more that were removed with their keystore", async () => {
      at("/keystores/0/keystone/user").type("other");
      api.stored = { ...STORED, keystores: [{ name: "old", type: "file" }] };
      api.digest = "5".repeat(64);
      await press("Save");
      await press("Put my changes on top");
      await press("Take mine there");
      expect(at("/keystores/0/keystone/password").invalid).toContain("Type it in again");
      expect(message()).toContain("Type it in again");
      await press("Save");
      expect(JSON.stringify(api.saved)).not.toContain(KEPT);
    });

    it.each([
      ["Take mine there", "debug"],
      ["Take theirs there", "error"],
    ])("and who changed the same is asked: %s", async (choice, level) => {
      at("/logLevel").type("debug");
      await loseRace();
      await press("Put my changes on top");
      expect(message()).toContain("Log level: you want debug");
      await press(choice);
      await press("Save");
      expect(api.saved).toEqual([{ ...theirs, logFile: "/mine.log", logLevel: level }]);
    });
  });

  describe("of a keystore that is tried", () => {
    const UPID = "UPID:node1:0:0:0:luksmithtest:vault:root@pam:";

    it("are those on the page, in a task whose window says how it goes", async () => {
      at("/keystores/0/projectId").type("other");
      api.test = UPID;
      await press("Test connection", part("/keystores/0"));
      expect(page.asked.at(-1)).toMatchObject({
        method: "POST",
        url: "/cluster/luksmith/test",
        params: { keystore: "vault" },
      });
      expect(page.asked.at(-1)?.params?.["settings"]).toContain('"projectId": "other"');
      expect(page.created).toEqual([
        { name: "Proxmox.window.TaskViewer", config: { upid: UPID, autoShow: true } },
      ]);
    });

    it("may get another shape meanwhile", async () => {
      let answer = () => undefined as unknown;
      api.next = (asked) => (answer = () => asked.success({ result: { data: UPID } }));
      await press("Test connection", part("/keystores/0"));
      await press("Add to Rules");
      answer();
      await settled();
      expect(page.created).toHaveLength(1);
      expect(page.errors).toEqual([]);
    });

    it("are not sent while something is wrong in them, and nothing else is said to have happened", async () => {
      at("/keystores/0/name").type("");
      await press("Test connection", part("/keystores/0"));
      expect(page.asked).toHaveLength(1);
      expect(at("/keystores/0/name").invalid).toBeDefined();
      expect(message()).toContain("Nothing was tried");
    });

    it("say why no task was begun", async () => {
      api.next = fails({ status: 403, message: "Permission check failed (user != root@pam)" });
      await press("Test connection", part("/keystores/0"));
      expect(message()).toContain("user != root@pam");
      expect(page.created).toEqual([]);
    });
  });

  it("tell which guests they match, whatever these are called", async () => {
    const name = `<img src=x onerror=alert(1)>`;
    const disk = {
      device: "scsi0",
      volume: "v",
      wish: "encrypted",
      rule: "all",
      profile: "default",
      askedBy: [],
    };
    api.preview = {
      guests: [
        { id: "100", name, disks: [disk] },
        { id: "101", name: "b", disks: [], problem: { code: "X", what: "away" } },
      ],
    };
    await press("Which guests match");
    const { html } = panel.down("#preview-result")!;
    expect(html).toContain("&#60;img");
    expect(html).not.toContain("<img");
    expect(html).toContain("encrypted, profile default");
    expect(html).toContain("away");
  });

  describe("that could not be read again after they were saved", () => {
    beforeEach(async () => {
      at("/keystores/0/keystone/password").type("correct horse");
      api.next = (asked) => {
        api.respond(asked);
        api.next = fails({ status: 500, message: "no quorum" });
      };
      await press("Save");
    });

    it("say both", () => {
      expect(api.saved).toHaveLength(1);
      expect(message()).toContain("Saved");
      expect(message()).toContain("no quorum");
    });

    it("are forgotten, with the secret that was typed", async () => {
      expect(panel.query("field")).toEqual([]);
      expect(panel.down("#save")!.disabled).toBe(true);
      await press("Save");
      expect(page.asked.filter(({ method }) => method === "PUT")).toHaveLength(1);
    });

    it("are there again once they can be read", async () => {
      await press("Reset");
      at("/logFile").type("/x");
      await press("Save");
      expect(page.asked.at(-2)?.params?.["digest"]).toBe("2".repeat(64));
    });
  });

  describe("that give up a keystore", () => {
    it.each([
      ["vault", "/keystores/0/type", "file"],
      ["old", "/keystores/1/directory", "/srv/other"],
      ["old", "/keystores/1/name", "new"],
    ])("ask before they are saved: %s, by another %s", async (name, pointer, value) => {
      at(pointer).type(value);
      page.answer = "no";
      await press("Save");
      expect(page.questions).toEqual([expect.stringContaining(`keystore ${name}`)]);
      expect(api.saved).toEqual([]);
    });

    it("are saved when the answer is yes", async () => {
      at("/keystores/1/name").type("new");
      await press("Save");
      expect(page.questions).toHaveLength(1);
      expect(api.saved).toHaveLength(1);
    });

    it("ask once: what was agreed to at the removal is not asked again", async () => {
      await press("Remove", part("/keystores/1"));
      await press("Save");
      expect(page.questions).toHaveLength(1);
      expect(api.saved).toHaveLength(1);
    });
  });

  describe("of a keystore that is to go", () => {
    it("do not lose it without a question when its name was cleared before", async () => {
      at("/keystores/0/name").type("");
      page.answer = "no";
      await press("Remove", part("/keystores/0"));
      expect(page.questions).toEqual([expect.stringContaining("keystore vault")]);
      expect(part("/keystores/1")).toBeDefined();
    });

    it("keep the only one", async () => {
      await press("Remove", part("/keystores/1"));
      await press("Remove", part("/keystores/0"));
      expect(message()).toContain("Keystore vault stays");
      expect(part("/keystores/0")).toBeDefined();
    });

    it("stay as they are while a profile needs it", async () => {
      await press("Remove", part("/keystores/0"));
      expect(message()).toContain("Keystore vault stays");
      expect(part("/keystores/1")).toBeDefined();
      expect(page.questions).toEqual([]);
    });

    it.each([
      ["yes", 1],
      ["no", 2],
    ])("ask first: %s", async (answer, left) => {
      page.answer = answer;
      await press("Remove", part("/keystores/1"));
      expect(page.questions[0]).toContain("can no longer be started");
      at("/logFile").type("/x");
      await press("Save");
      expect((api.saved[0] as typeof STORED).keystores).toHaveLength(left);
    });
  });

  describe("of a profile that is to go", () => {
    const profiles = [{ name: "default" }, { name: "strong" }, { name: "spare" }];

    beforeEach(async () => {
      api.stored = { ...STORED, profiles, rules: [{ name: "all", profile: "strong" }] };
      await press("Reset");
    });

    it.each([
      ["default", 0, "there must be one"],
      ["strong", 1, "Rule all names it"],
    ])("keep %s, and say why", async (name, index, why) => {
      await press("Remove", part(`/profiles/${index}`));
      expect(message()).toContain(`Profile ${name} stays`);
      expect(message()).toContain(why);
      expect(part("/profiles/2")).toBeDefined();
    });

    it("lose one that nobody needs", async () => {
      await press("Remove", part("/profiles/2"));
      await press("Save");
      expect(api.saved).toEqual([expect.objectContaining({ profiles: profiles.slice(0, 2) })]);
    });
  });

  it.each([
    ["yes", true],
    ["no", false],
  ])("are read again only after a question where something was typed: %s", async (answer, isUnchanged) => {
    await press("Reset");
    expect(page.questions).toEqual([]);
    at("/logFile").type("/mine.log");
    page.answer = answer;
    await press("Reset");
    expect(page.questions).toEqual([expect.stringContaining("They are lost")]);
    expect(panel.down("#save")!.disabled).toBe(isUnchanged);
  });

  it("explain a failure with its cause and what to do", async () => {
    at("/logFile").type("/x");
    api.next = fails({
      status: 503,
      message: "cannot <u>save</u>\n",
      errors: { cause: "no quorum", hint: "pvecm status", code: "X" },
    });
    await press("Save");
    expect(message()).toContain("cannot &#60;u&#62;save");
    expect(message()).toContain("no quorum");
    expect(message()).toContain("pvecm status");
    expect(at("/logFile")).toBeDefined();
  });

  it("say what nobody answered", async () => {
    api.next = (asked) => asked.failure({ statusText: "communication failure" });
    await press("Reset");
    expect(message()).toContain("communication failure");
  });

  it("that are too large for the web server are to be saved in a shell", async () => {
    at("/logFile").type(`/${"x".repeat(70_000)}`);
    api.next = (asked) => asked.failure({ result: { status: 501, message: "for data too large" } });
    await press("Save");
    expect(message()).toContain("larger than what this web server takes");
    expect(message()).toContain("luksmith settings set");
  });

  it("are left alone once the panel is gone", async () => {
    let answer = () => undefined as unknown;
    api.next = (asked) => (answer = () => asked.success({ result: { data: {} } }));
    button("Reset").click();
    panel.destroyed = true;
    panel.down = () => {
      throw new Error("destroyed");
    };
    answer();
    await settled();
    expect(page.errors).toEqual([]);
  });

  it("can be read without being changed", async () => {
    page.userName = "alice@pve";
    panel = await open();
    expect(panel.down("#save")).toBeNull();
    expect(message()).toContain("Only root@pam");
    const texts = panel.all.map(({ config }) => config["text"]).filter((text) => text !== undefined);
    expect(texts).toEqual(["Reload"]);
  });
});
