import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Guest } from "../host-adapter.js";

/** Where libvirt keeps what `virsh managedsave` and a suspending shutdown of the host write. */
const DIRECTORY = "/var/lib/libvirt/qemu/save";

/** The file with the memory of a guest that libvirt saved and will resume at its next start. */
export function savedMemory({ name }: Pick<Guest, "name">, directory = DIRECTORY): string | undefined {
  const path = join(directory, `${name}.save`);
  return existsSync(path) ? path : undefined;
}
