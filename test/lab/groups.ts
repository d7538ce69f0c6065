/** A Debian package; `since` is the first Debian release that has it, where earlier ones have it in another. */
export type DebianPackage = string | { readonly name: string; readonly since: number };

export interface Group {
  /** The test files called `*.NAME.test.ts` belong to it. */
  readonly name: string;
  /** What runs for real, in one line. */
  readonly description: string;
  readonly packages: readonly DebianPackage[];
  /** Where its tests run: here, or in User-Mode Linux, whose kernel has what that of this machine may lack. */
  readonly machine?: "uml";
}

/** What test/lab/uml.ts boots. */
const UML = ["gcc", "iproute2", "kmod", "libc6-dev", "user-mode-linux"] as const;

/** What `*.test.ts` without a group need: tools, no service. */
export const UNIT: Group = {
  name: "unit",
  description: "everything that needs no service",
  packages: [
    ...UML,
    "cryptsetup-bin",
    "dmsetup",
    "e2fsprogs",
    "libvirt-clients",
    "libxml2-utils",
    "qemu-system-x86",
    "qemu-utils",
    "strace",
  ],
};

/** What tests in User-Mode Linux use there. */
const DEVICES = [
  ...UML,
  "cryptsetup-bin",
  "dmsetup",
  "e2fsprogs",
  "fdisk",
  "lvm2",
  "qemu-system-x86",
  "qemu-utils",
  "strace",
  "thin-provisioning-tools",
] as const;

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
  {
    name: "ceph",
    description: "a Ceph cluster of one monitor and one OSD in memory, alone and under a private libvirtd",
    packages: [
      "ceph-common",
      "ceph-mon",
      "ceph-osd",
      "cryptsetup-bin",
      "libvirt-clients",
      "libvirt-daemon",
      "libvirt-daemon-driver-qemu",
      { name: "libvirt-daemon-driver-secret", since: 13 },
      "qemu-block-extra",
      "qemu-system-x86",
      "qemu-utils",
    ],
  },
  {
    name: "lvm",
    description: "LVM and LVM-thin volumes on a real device-mapper, in User-Mode Linux",
    packages: DEVICES,
    machine: "uml",
  },
  {
    name: "faults",
    description:
      "devices that fail, vanish, fill up or answer late: dm error, flakey, delay, in User-Mode Linux",
    packages: DEVICES,
    machine: "uml",
  },
];

export function findGroup(name: string | undefined): Group | undefined {
  return GROUPS.find((group) => group.name === name);
}

/** The group to which a test file belongs by its name. */
export function groupOf(path: string): string {
  return /\.([^./]+)\.test\.ts$/.exec(path)?.[1] ?? UNIT.name;
}

/** `groups` in their order, those of User-Mode Linux together: it is booted once. */
export function batchesOf(groups: readonly Group[]): Group[][] {
  const there = groups.filter(({ machine }) => machine === "uml");
  const here = groups.filter(({ machine }) => machine === undefined).map((group) => [group]);
  return there.length === 0 ? here : [...here, there];
}
