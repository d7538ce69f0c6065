import { createHash } from "node:crypto";
import { decodeText, encodeText } from "./encoded-text.js";

/** Options by name, with the description decoded, as Proxmox VE has them in memory. */
export type VmOptions = Readonly<Record<string, string>>;

/** /etc/pve/nodes/NODE/qemu-server/VMID.conf */
export interface VmConfig {
  /** As the guest is now, or will start. */
  readonly options: VmOptions;
  /** Changes that wait for the guest to stop; `delete` names the options that go. */
  readonly pending: VmOptions;
  /** The configurations of its snapshots, by name; `vmstate` is the volume with the memory. */
  readonly snapshots: ReadonlyMap<string, VmOptions>;
  /** `cloudinit` (what the drive was made of), `fleecing`. */
  readonly special: ReadonlyMap<string, VmOptions>;
  /** SHA-1 of the file: what `qm set --digest` compares. */
  readonly digest: string;
}

/** Never throws: a line that is not understood is passed over, as Proxmox VE does. @param file as it was read */
export function parseVmConfig(file: Uint8Array | string): VmConfig {
  const text = typeof file === "string" ? file : new TextDecoder().decode(file);
  const main = new Section();
  const pending = new Section();
  const snapshots = new Map<string, Section>();
  const special = new Map<string, Section>();
  let section: Section | undefined = main;
  for (const line of text.split("\n")) {
    const [, heading] = /^\[([^\]]*)\]$/.exec(line.trimEnd()) ?? [];
    if (heading === undefined) {
      section?.add(line);
    } else if (heading.toLowerCase() === "pending") {
      section = pending.restart();
    } else {
      const [, name] = /^special:(cloudinit|fleecing)$/i.exec(heading) ?? [];
      const isSnapshot = /^[a-z][a-z0-9_-]+$/i.test(heading);
      section = name !== undefined || isSnapshot ? new Section() : undefined;
      if (section !== undefined) (name === undefined ? snapshots : special).set(name ?? heading, section);
    }
  }
  return {
    options: main.options,
    pending: pending.options,
    snapshots: optionsOf(snapshots),
    special: optionsOf(special),
    digest: createHash("sha1").update(file).digest("hex"),
  };
}

/** Options as the main section of a file has them: the description first, in comments, then the others by name. */
export function renderVmOptions({ description = "", ...options }: VmOptions): string {
  const notes = description === "" ? [] : description.split("\n").map((line) => `#${encodeText(line)}\n`);
  const names = Object.keys(options).sort();
  return [...notes, ...names.map((name) => `${name}: ${options[name] ?? ""}\n`)].join("");
}

function optionsOf(sections: ReadonlyMap<string, Section>): ReadonlyMap<string, VmOptions> {
  return new Map([...sections].map(([name, { options }]) => [name, options]));
}

class Section {
  #options = new Map<string, string>();
  #description: string | undefined;

  /** A second section of one name takes the place of the first. */
  restart(): this {
    this.#options = new Map();
    this.#description = undefined;
    return this;
  }

  add(line: string): void {
    if (line.startsWith("#")) {
      this.#description = `${this.#description ?? ""}${decodeText(line.slice(1))}\n`;
      return;
    }
    const text = line.trimEnd();
    // whatever stands before it
    if (/snapstate:[ \t]*(prepare|delete)$/.test(text)) return;
    const [, name, rest] = /^([a-z][a-z_-]*[0-9]*):(.*)$/.exec(text) ?? [];
    const value = rest?.trim() ?? "";
    if (name === undefined || value === "") return;
    if (name === "description") this.#description = `${this.#description ?? ""}${decodeText(value)}`;
    else this.#options.set(name === "cdrom" ? "ide2" : name, value);
  }

  get options(): VmOptions {
    const description = this.#description?.replace(/[\s]+$/u, "");
    const all = [...this.#options, ...(description === undefined ? [] : [["description", description]])];
    return Object.fromEntries(all) as Record<string, string>;
  }
}
