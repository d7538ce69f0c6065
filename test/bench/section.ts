/**
 * What `npm run bench` measures, in its order, and where: on a private libvirt host, between two of them, on what looks
 * like a node of Proxmox VE, in User-Mode Linux, or on a libvirt host there.
 */
const MACHINES = {
  hooks: "host",
  "new-disks": "host",
  "many-disks": "host",
  "header-writes": "host",
  unlocking: "host",
  commands: "host",
  pages: "host",
  "disk-io": "host",
  tuning: "host",
  keystores: "host",
  convert: "host",
  rotate: "host",
  migration: "two-hosts",
  proxmox: "node",
  "dm-crypt": "uml",
  "engine-hooks": "uml-host",
} as const;

export type Machine = (typeof MACHINES)[Section];
export type Section = keyof typeof MACHINES;
/** Those that are measured there. */
export type SectionOn<M extends Machine> = {
  [S in Section]: (typeof MACHINES)[S] extends M ? S : never;
}[Section];

export const SECTIONS = Object.keys(MACHINES) as readonly Section[];

export function sectionsOn<M extends Machine>(machine: M, sections: readonly Section[]): SectionOn<M>[] {
  return sections.filter((section): section is SectionOn<M> => MACHINES[section] === machine);
}

export type Request =
  | { readonly kind: "list" }
  | { readonly kind: "run"; readonly sections: readonly Section[]; readonly json: boolean }
  | { readonly kind: "refused"; readonly what: string };

const OPTIONS = ["--json", "--list"];

/** `[--json] [SECTION…]`, where none means all, or `--list`. Sections are measured in their own order. */
export function parseRequest(args: readonly string[]): Request {
  const options = args.filter((argument) => argument.startsWith("-"));
  const names = args.filter((argument) => !argument.startsWith("-"));
  const unknownOption = options.find((option) => !OPTIONS.includes(option));
  if (unknownOption !== undefined) return { kind: "refused", what: `unknown option ${unknownOption}` };
  const unknownName = names.find((name) => !Object.hasOwn(MACHINES, name));
  if (unknownName !== undefined) return { kind: "refused", what: `unknown section ${unknownName}` };
  if (options.includes("--list")) return { kind: "list" };
  const sections = names.length === 0 ? SECTIONS : SECTIONS.filter((section) => names.includes(section));
  return { kind: "run", sections, json: options.includes("--json") };
}
