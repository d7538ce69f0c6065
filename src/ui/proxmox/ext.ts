/**
 * What the panel uses of the web interface of Proxmox VE: ExtJS, Proxmox' widget toolkit, and pve-manager's own classes.
 * All of them are globals of its page.
 */
declare global {
  const Ext: ExtApi;
  const PVE: PveApi;
  const Proxmox: ProxmoxApi;
}

/** How a component is to be. */
export interface Config {
  readonly [name: string]: unknown;
}

interface ExtApi {
  define(name: string, members: Config): void;
  create(name: string, config: Config): Component;
  apply(target: object, members: Config): void;
  suspendLayouts(): void;
  resumeLayouts(flush: true): void;
  readonly panel: { readonly Panel: ExtClass };
  readonly state: { readonly Manager: { get(name: "GuiCap"): Capabilities | undefined } };
  readonly Msg: { confirm(title: string, html: string, answer: (button: string) => void): void };
}

export interface ExtClass {
  readonly prototype: ComponentPrototype;
}

interface ComponentPrototype {
  initComponent: (this: Component, ...given: unknown[]) => unknown;
}

interface PveApi {
  readonly panel: { readonly Config: { readonly prototype: ComponentPrototype } };
}

interface ProxmoxApi {
  /** Whoever is logged in, with the realm. */
  readonly UserName?: string;
  readonly Utils: {
    API2Request(request: ApiRequest): void;
    override_task_descriptions?(extra: Readonly<Record<string, readonly [string, string]>>): void;
  };
}

export interface ApiRequest {
  /** Below /api2/extjs. */
  readonly url: string;
  readonly method: "GET" | "PUT" | "POST";
  readonly params?: Readonly<Record<string, string>>;
  /** Milliseconds. */
  readonly timeout: number;
  readonly waitMsgTarget: Component;
  success(response: ApiResponse): void;
  failure(response: ApiResponse): void;
}

export interface ApiResponse {
  readonly statusText?: string;
  readonly result?: {
    readonly data?: unknown;
    readonly message?: string;
    readonly status?: number;
    readonly errors?: Readonly<Record<string, unknown>>;
  };
}

/** What whoever is logged in may do somewhere, by kind of place and privilege. */
export interface Capabilities {
  readonly dc?: Readonly<Record<string, unknown>>;
  readonly vms?: Readonly<Record<string, unknown>>;
}

/** One that is there. Only what some of them have is optional. */
export interface Component {
  readonly $className?: string;
  items?: unknown;
  readonly pveSelNode?: { readonly data: { readonly node?: string; readonly vmid?: number | string } };
  readonly destroyed?: boolean;
  /** Our own: what part of the settings it shows. */
  readonly pointer?: string;
  down(selector: string): Component | null;
  query(selector: string): Component[];
  on(event: string, listener: () => void): void;
  add(items: readonly Config[]): void;
  removeAll(): void;
  update(html: string): void;
  setDisabled(disabled: boolean): void;
  getScrollY(): number;
  setScrollY(y: number): void;
  focus(): void;
  markInvalid(html: string): void;
  expand(): void;
  getSelection(): readonly { readonly data: Readonly<Record<string, unknown>> }[];
  readonly store?: { setData(rows: readonly Config[]): void };
}
