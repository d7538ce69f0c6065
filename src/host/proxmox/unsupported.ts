import { LuksmithError } from "../../error/luksmith-error.js";
import type { GuestMigration } from "../guest-migration.js";

/** What a command of Luksmith for guests of libvirt is on Proxmox VE, by the command's name. */
const INSTEAD: Readonly<Record<string, (vmid: string, disk: string) => string>> = {
  protect: (vmid, disk) =>
    `move the disk to a storage of type luksmith: qm disk move ${vmid} ${disk} STORAGE`,
  convert: (vmid, disk) =>
    `move the disk to a storage of type luksmith: qm disk move ${vmid} ${disk} STORAGE`,
  unprotect: (vmid, disk) =>
    `move the disk to a storage that does not encrypt: qm disk move ${vmid} ${disk} STORAGE`,
  purge: (vmid, disk) => `remove the disk's old volume: qm disk unlink ${vmid} --idlist ${disk} --force 1`,
  adopt: (vmid) => `import the decrypted volume: qm disk import ${vmid} FILE STORAGE`,
  attach: (vmid, disk) =>
    `make it on a storage of type luksmith: qm set ${vmid} --${disk} STORAGE:SIZE (in GiB)`,
  detach: (vmid, disk) => `qm set ${vmid} --delete ${disk}`,
  grow: (vmid, disk) => `qm disk resize ${vmid} ${disk} SIZE`,
  allocate: (vmid, disk) => `make it with its guest: qm set ${vmid} --${disk} STORAGE:SIZE (in GiB)`,
  separate: (vmid) => `make a full clone, whose disks get keys of their own: qm clone ${vmid} NEWID --full`,
  shred: (vmid, disk) =>
    `destroy the volume, whose header goes first: qm disk unlink ${vmid} --idlist ${disk} --force 1; then its key: luksmith keys delete UUID`,
  "migrate-check": (vmid) =>
    `qm migrate ${vmid} NODE --online checks it; before that, on that node: luksmith doctor`,
};

/** Whether Proxmox VE has a command of its own for it, so that this one is refused there. */
export function isUnsupported(command: string): boolean {
  return Object.hasOwn(INSTEAD, command);
}

/** @param words what the command was given: guest and disk, as far as it has them */
export function unsupportedCommand(command: string, words: readonly string[]): LuksmithError {
  const [guest = "", disk = ""] = command === "allocate" ? [] : words;
  const vmid = /^[1-9][0-9]{2,8}$/.test(guest) ? guest : "VMID";
  const hint = INSTEAD[command]?.(vmid, /^[a-z]+[0-9]+$/.test(disk) ? disk : "DISK");
  return new LuksmithError("HOST_UNSUPPORTED", {
    what: `luksmith ${command} is not for guests of Proxmox VE`,
    why: "Proxmox VE makes and changes their disks itself; on a storage of type luksmith each is encrypted, with a key of its own",
    ...(hint !== undefined && { hint }),
  });
}

/** Of a part of the host adapter that no command of this host reaches. */
export function unsupported(task: string): LuksmithError {
  return new LuksmithError("HOST_UNSUPPORTED", {
    what: `cannot ${task}`,
    why: "Proxmox VE does that itself",
    hint: "see: qm help",
  });
}

/** Proxmox VE moves a guest with its disks by itself, and the volumes it copies to are made like all others. */
export class ProxmoxMigration implements GuestMigration {
  annotated: GuestMigration["annotated"] = () => Promise.reject(unsupported("change what migrates"));
  answer: GuestMigration["answer"] = () => {
    throw unsupported("change what migrates");
  };
  incoming: GuestMigration["incoming"] = () => Promise.reject(unsupported("look at what migrates"));
  isShutOff: GuestMigration["isShutOff"] = () => false;
  isDefined: GuestMigration["isDefined"] = () => true;
  secretUuids: GuestMigration["secretUuids"] = () => Promise.resolve(new Set());
  whereabouts: GuestMigration["whereabouts"] = () => Promise.resolve("absent");
  ask: GuestMigration["ask"] = () => Promise.reject(unsupported("ask the target of a migration"));
}
