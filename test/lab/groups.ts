/** A Debian package; `since` is the first Debian release that has it, where earlier ones have it in another. */
export type DebianPackage = string | { readonly name: string; readonly since: number };

export interface Group {
  /** The test files called `*.NAME.test.ts` belong to it. */
  readonly name: string;
  /** What runs for real, in one line. */
  readonly description: string;
  readonly packages: readonly DebianPackage[];
}

/** What `*.test.ts` without a group need: tools, no service. */
export const UNIT: Group = {
  name: "unit",
  description: "everything that needs no service",
  packages: [
    "cryptsetup-bin",
    "e2fsprogs",
    "libvirt-clients",
    "libxml2-utils",
    "qemu-system-x86",
    "qemu-utils",
    "strace",
  ],
};

/** Tests that need a real service, by group. A new group is one row here; vitest, check and lab read it. */
export const GROUPS: readonly Group[] = [
  {
    name: "libvirt",
    description: "a private libvirtd and QEMU guests: hooks fired by the host manager, secrets, faults",
    packages: [
      "binutils",
      "cryptsetup-bin",
      "e2fsprogs",
      "libvirt-clients",
      "libvirt-daemon",
      "libvirt-daemon-driver-qemu",
      { name: "libvirt-daemon-driver-secret", since: 13 },
      "libxml2-utils",
      "qemu-system-x86",
      "qemu-utils",
      "strace",
    ],
  },
];

export function findGroup(name: string | undefined): Group | undefined {
  return GROUPS.find((group) => group.name === name);
}
