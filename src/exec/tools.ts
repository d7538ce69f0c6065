import { accessSync, constants } from "node:fs";
import { LuksmithError } from "../error/luksmith-error.js";

/** Every program that Luksmith starts, with the Debian package that has it. */
const TOOLS = {
  blkdiscard: "util-linux",
  blkid: "util-linux",
  blockdev: "util-linux",
  clevis: "clevis",
  cp: "coreutils",
  cryptsetup: "cryptsetup-bin",
  dd: "coreutils",
  dmsetup: "dmsetup",
  flock: "util-linux",
  kvm: "qemu-system-x86",
  logger: "bsdutils",
  lvchange: "lvm2",
  lvcreate: "lvm2",
  lvextend: "lvm2",
  lvremove: "lvm2",
  lvrename: "lvm2",
  lvs: "lvm2",
  modprobe: "kmod",
  mount: "mount",
  node: "nodejs",
  perl: "perl-base",
  "qemu-img": "qemu-utils",
  "qemu-io": "qemu-utils",
  "qemu-storage-daemon": "qemu-system-common",
  qm: "qemu-server",
  rbd: "ceph-common",
  "systemd-cat": "systemd",
  "systemd-creds": "systemd",
  "systemd-run": "systemd",
  systemctl: "systemd",
  tpm2_create: "tpm2-tools",
  tpm2_createprimary: "tpm2-tools",
  tpm2_flushcontext: "tpm2-tools",
  tpm2_load: "tpm2-tools",
  tpm2_policypcr: "tpm2-tools",
  tpm2_sessionconfig: "tpm2-tools",
  tpm2_startauthsession: "tpm2-tools",
  tpm2_unseal: "tpm2-tools",
  umount: "mount",
  virsh: "libvirt-clients",
  zfs: "zfsutils-linux",
  zvol_id: "zfsutils-linux",
} as const;

export type Tool = keyof typeof TOOLS;

const DIRECTORIES = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/** Programs that packages bring for udev's rules. */
const UDEV = ["/usr/lib/udev", "/lib/udev"];

/** The absolute path of `tool`, from fixed directories and never from PATH. @throws TOOL_MISSING */
export function toolPath(tool: Tool): string {
  const path = findTool(tool);
  if (path !== undefined) return path;
  throw new LuksmithError("TOOL_MISSING", {
    what: `cannot run ${tool}`,
    why: `it is in none of ${DIRECTORIES.join(", ")}`,
    hint: `apt-get install ${packageOf(tool)}`,
  });
}

/** The Debian package that has `tool`. */
export function packageOf(tool: Tool): string {
  return TOOLS[tool];
}

/** Says that a tool is missing, and what brings it. */
export function missingTool(tool: Tool): string {
  return `${tool} is missing (apt-get install ${packageOf(tool)})`;
}

export function findTool(tool: Tool): string | undefined {
  // wherever Node.js was installed: what runs here runs a helper of ours too
  if (tool === "node") return process.execPath;
  const directories = tool === "zvol_id" ? UDEV : DIRECTORIES;
  return directories.map((directory) => `${directory}/${tool}`).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
