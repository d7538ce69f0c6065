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
  /** Test files at once, where that is not the usual number. */
  readonly workers?: number;
}

/** What test/lab/uml.ts boots. */
const UML = ["gcc", "iproute2", "kmod", "libc6-dev", "user-mode-linux"] as const;

/** What `*.test.ts` without a group need: tools, no service. */
export const UNIT: Group = {
  name: "unit",
  description: "everything that needs no service",
  packages: [
    ...UML,
    "age",
    "cryptsetup-bin",
    "dmsetup",
    "e2fsprogs",
    "fdisk",
    "groff-base",
    "libvirt-clients",
    "libxml2-utils",
    "openssl",
    "qemu-system-x86",
    "qemu-utils",
    "strace",
    "systemd",
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

/** A private libvirtd and its guests. */
const LIBVIRT = [
  "cryptsetup-bin",
  "libvirt-clients",
  "libvirt-daemon",
  "libvirt-daemon-driver-qemu",
  { name: "libvirt-daemon-driver-secret", since: 13 },
  "qemu-system-x86",
  "qemu-utils",
] as const;

/** OpenStack Barbican without Keystone. */
const BARBICAN = ["python3-barbican", "sqlite3", "uwsgi-core", "uwsgi-plugin-python3"] as const;

/** What test/lab/browser.ts starts, and a font, without which there is nothing to see. */
const BROWSER = ["chromium", "fonts-liberation"] as const;

/** The storage plugin of Proxmox VE and what it starts. */
const PROXMOX = [
  "cryptsetup-bin",
  "libjson-perl",
  "libperl-critic-perl",
  "lvm2",
  "perl",
  "python3-fusepy",
  "qemu-system-x86",
  "qemu-utils",
  "strace",
] as const;

/** Tests that need a real service, by group. A new group is one row here; vitest, check and lab read it. */
export const GROUPS: readonly Group[] = [
  {
    name: "libvirt",
    description: "a private libvirtd and QEMU guests: hooks fired by the host manager, secrets, faults",
    packages: [
      ...LIBVIRT,
      ...UML,
      "age",
      "binutils",
      "e2fsprogs",
      "jq",
      "libxml2-utils",
      "lvm2",
      "strace",
      "swtpm",
      "swtpm-tools",
    ],
  },
  {
    name: "convert",
    description:
      "disks that exist are encrypted and decrypted: by a copy, in place, and while the guest runs",
    packages: [...LIBVIRT, ...UML, "e2fsprogs", "strace"],
  },
  {
    name: "rotate",
    description:
      "passphrases and volume keys are changed, also while the guest runs, and killed at every step",
    packages: [...LIBVIRT, ...UML, "age", "strace"],
  },
  {
    name: "recover",
    description: "headers, keystores and hosts are lost: header copies, recovery keyslots, drills, shredding",
    packages: [...LIBVIRT, ...UML, "age", "e2fsprogs", "openssl", "strace"],
  },
  {
    name: "ceph",
    description: "a Ceph cluster of one monitor and one OSD in memory, alone and under a private libvirtd",
    packages: ["ceph-common", "ceph-mon", "ceph-osd", ...LIBVIRT, "qemu-block-extra"],
  },
  {
    name: "migration",
    description: "live migration between two private libvirt hosts with a network between them",
    packages: [...LIBVIRT, ...UML, "binutils", "openssl", "strace"],
    // they wait for networks and for each other more than they compute
    workers: 3,
  },
  {
    name: "kernels",
    description: "live migration with dm-crypt between two kernels in User-Mode Linux that share a disk",
    packages: [...LIBVIRT, ...DEVICES, "binutils"],
  },
  {
    name: "proxmox",
    description:
      "the Proxmox VE storage plugin under stand-ins of Proxmox VE's modules: real QEMU, storage daemon, FUSE",
    packages: PROXMOX,
  },
  {
    name: "proxmox-lvm",
    description: "the same on LVM and LVM-thin, in User-Mode Linux",
    packages: [...DEVICES, ...PROXMOX],
    machine: "uml",
  },
  {
    name: "package",
    description: "the Debian package: built, and installed in a clean root of Debian 13",
    packages: ["debootstrap", "dpkg-dev", "lintian"],
  },
  {
    name: "barbican",
    description: "OpenStack Barbican without Keystone, over HTTP and TLS, alone and under a private libvirtd",
    packages: [...LIBVIRT, ...BARBICAN, "openssl"],
  },
  {
    name: "keystone",
    description:
      "OpenStack Barbican with Keystone: tokens, roles, application credentials, the service catalog",
    packages: [...LIBVIRT, ...BARBICAN, "openssl", "python3-keystone"],
  },
  {
    name: "cockpit",
    description: "the page in a real Cockpit on a private libvirt host, in Chromium",
    packages: [...LIBVIRT, ...BROWSER, "cockpit-bridge", "cockpit-system", "cockpit-ws", "dbus-daemon"],
  },
  {
    name: "local-ui",
    description: "the page of `luksmith ui` on a private libvirt host, with a real Barbican, in Chromium",
    packages: [...LIBVIRT, ...BARBICAN, ...BROWSER, "python3-keystone"],
  },
  {
    name: "kmip",
    description: "PyKMIP's server and client, with certificates on both sides",
    packages: ["openssl", "python3-pykmip"],
  },
  {
    name: "vault",
    description: "a fake of Vault's KV engine, and a real server where VAULT_ADDR names one",
    packages: ["openssl"],
  },
  {
    name: "protectors",
    description: "what keeps a local master key: swtpm, Tang and clevis, SoftHSM2, systemd-creds",
    packages: [
      "clevis",
      "curl",
      "opensc",
      "socat",
      "softhsm2",
      "swtpm",
      "swtpm-tools",
      "systemd",
      "tang",
      "tpm2-tools",
    ],
  },
  {
    name: "lvm",
    description: "LVM and LVM-thin volumes on a real device-mapper, in User-Mode Linux",
    packages: DEVICES,
    machine: "uml",
  },
  {
    name: "dmcrypt",
    description:
      "mappings of dm-crypt: opened, closed, failing, and under a private libvirtd, in User-Mode Linux",
    packages: [...DEVICES, ...LIBVIRT],
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
