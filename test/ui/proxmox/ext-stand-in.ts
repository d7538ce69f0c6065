import { createContext, runInContext } from "node:vm";

/**
 * Stand-in for the web interface of Proxmox VE: as much of ExtJS and of pve-manager's classes as the panel uses, written
 * from their documentation. Components have no appearance; what was put into them is there to be looked at.
 */
export type Config = Readonly<Record<string, unknown>>;

interface Members {
  readonly [name: string]: unknown;
  initComponent?: (this: StandIn) => void;
}

export interface Asked {
  readonly url: string;
  readonly method: string;
  readonly params?: Readonly<Record<string, string>>;
  success(response: object): void;
  failure(response: object): void;
}

const FIELDS = ["textfield", "textareafield", "numberfield", "proxmoxKVComboBox"];

export class StandIn {
  readonly children: StandIn[] = [];
  readonly $className?: string;
  readonly pointer?: string;
  items?: unknown;
  html = "";
  disabled = false;
  destroyed = false;
  focused = false;
  invalid?: string;
  collapsed = false;
  rows: readonly Config[] = [];
  selected: readonly Config[] = [];
  readonly store?: object;
  readonly #listeners = new Map<string, (() => void)[]>();

  constructor(
    readonly config: Config,
    readonly page: StandInPage,
  ) {
    const members = page.classes.get(String(config["xtype"])) ?? {};
    const { store, ...others } = { ...members, ...config };
    Object.assign(this, others);
    if (store !== undefined) this.store = { setData: (rows: readonly Config[]) => (this.rows = rows) };
    if (members.initComponent === undefined) this.build();
    else members.initComponent.call(this);
  }

  /** What a component's own initComponent does with its items. */
  build(): void {
    for (const key of ["tbar", "items"] as const) {
      const configs = (this as unknown as Config)[key];
      if (Array.isArray(configs)) this.children.push(...this.#made(configs as Config[]));
    }
  }

  get markup(): string {
    return [this.html, ...this.children.map(({ markup }) => markup)].join("\n");
  }

  get all(): StandIn[] {
    return this.children.flatMap((child) => [child, ...child.all]);
  }

  down(selector: string): StandIn | null {
    const id = /^(?:#([\w-]+)|\[itemId=([\w-]+)\])$/.exec(selector);
    if (id === null) throw new Error(`the stand-in does not know the selector ${selector}`);
    return this.all.find(({ config }) => config["itemId"] === (id[1] ?? id[2])) ?? null;
  }

  query(selector: string): StandIn[] {
    const xtypes = selector === "field" ? FIELDS : [selector];
    return this.all.filter(({ config }) => xtypes.includes(String(config["xtype"])));
  }

  on(event: string, listener: () => void): void {
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), listener]);
  }

  fire(event: string, ...given: readonly unknown[]): void {
    const own = (
      this.config["listeners"] as Readonly<Record<string, (...all: unknown[]) => void>> | undefined
    )?.[event];
    own?.(this, ...given);
    for (const listener of this.#listeners.get(event) ?? []) listener();
  }

  /** As somebody does with a keyboard. */
  type(value: unknown): void {
    this.fire("change", value);
  }

  click(): void {
    (this.config["handler"] as () => void)();
  }

  add(configs: readonly Config[]): void {
    this.children.push(...this.#made(configs));
  }

  removeAll(): void {
    for (const gone of this.all) gone.destroyed = true;
    this.children.length = 0;
  }

  update(html: string): void {
    if (this.destroyed) throw new TypeError("the component is destroyed");
    this.html = html;
  }

  setDisabled(disabled: boolean): void {
    this.disabled = disabled;
  }

  getScrollY(): number {
    return 0;
  }

  setScrollY(): void {
    // nothing is as high as a screen here
  }

  focus(): void {
    this.focused = true;
  }

  markInvalid(html: string): void {
    this.invalid = html;
  }

  expand(): void {
    this.collapsed = false;
    this.fire("expand");
  }

  getSelection(): readonly { readonly data: Config }[] {
    return this.selected.map((data) => ({ data }));
  }

  #made(configs: readonly Config[]): StandIn[] {
    return configs
      .filter((config) => typeof config === "object")
      .map((config) => new StandIn(config, this.page));
  }
}

/** One page, with the panel's script in it. */
export class StandInPage {
  readonly classes = new Map<string, Members>();
  readonly asked: Asked[] = [];
  readonly created: { readonly name: string; readonly config: Config }[] = [];
  readonly errors: unknown[] = [];
  readonly taskDescriptions: Record<string, unknown> = {};
  capabilities: unknown = {
    dc: { "Sys.Audit": 1, "Sys.Modify": 1 },
    vms: { "VM.Audit": 1, "VM.Config.Disk": 1 },
  };
  userName: string | undefined = "root@pam";
  /** What somebody says to questions, which they are shown as. */
  answer = "yes";
  readonly questions: string[] = [];
  /** What the API answers; a function that throws is one of Proxmox VE that does. */
  respond: (asked: Asked) => void = () => undefined;
  readonly globals: Record<string, unknown>;

  constructor() {
    const stock = {
      initComponent(this: StandIn) {
        this.build();
      },
    };
    this.globals = {
      console: { error: (...said: unknown[]) => this.errors.push(said) },
      structuredClone,
      encodeURIComponent,
      Ext: {
        define: (_: string, { alias, ...members }: Config & { alias: string }) =>
          this.classes.set(alias.replace("widget.", ""), members),
        create: (name: string, config: Config) => this.created.push({ name, config }),
        apply: (target: object, members: object) => Object.assign(target, members),
        suspendLayouts: () => undefined,
        resumeLayouts: () => undefined,
        panel: { Panel: { prototype: stock } },
        state: { Manager: { get: () => this.capabilities } },
        Msg: {
          confirm: (_: string, html: string, then: (button: string) => void) => {
            this.questions.push(html);
            then(this.answer);
          },
        },
      },
      PVE: { panel: { Config: { prototype: stockConfigPanel() } } },
      Proxmox: this.#proxmox(),
    };
  }

  #proxmox(): object {
    const userName = () => this.userName;
    return {
      get UserName() {
        return userName();
      },
      Utils: {
        API2Request: (asked: Asked) => {
          this.asked.push(asked);
          this.respond(asked);
        },
        override_task_descriptions: (more: object) => Object.assign(this.taskDescriptions, more),
      },
    };
  }

  /** As a script element does. What it throws is the page's problem. */
  load(script: string): void {
    runInContext(script, createContext(this.globals));
  }

  /** A configuration panel of pve-manager, which adds a search to its entries. */
  configPanel(
    className: string,
    more: Config = {},
  ): { readonly items: readonly Config[]; readonly stock: number } {
    const prototype = (
      this.globals["PVE"] as { panel: { Config: { prototype: ReturnType<typeof stockConfigPanel> } } }
    ).panel.Config.prototype;
    const panel = { $className: className, items: stockEntries(className), stock: 0, ...more };
    prototype.initComponent.call(panel);
    return panel;
  }

  async open(entry: Config, before: (component: StandIn) => void = () => undefined): Promise<StandIn> {
    const component = new StandIn(entry, this);
    before(component);
    component.fire("afterrender");
    await settled();
    return component;
  }
}

/** Until what was asked is answered. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

function stockConfigPanel() {
  return {
    initComponent(this: { stock: number }) {
      this.stock += 1;
    },
  };
}

function stockEntries(className: string): Config[] {
  const ids =
    className === "PVE.dc.Config" ? ["summary", "storage", "backup"] : ["summary", "hardware", "options"];
  return ids.map((itemId) => ({ itemId }));
}
