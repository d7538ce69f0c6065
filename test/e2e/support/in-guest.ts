import { readFileSync } from "node:fs";
import type { TestGuest } from "./guests.js";
import type { LuksmithHost } from "./luksmith-host.js";

/**
 * Has the QEMU of a running guest do with a disk what the guest would.
 * @param disk counts from 0 @param command of qemu-io: `write -P 0x55 1M 64k`
 * @returns what came of it, as QEMU's log has it: `wrote 65536/65536`; empty where it says nothing, as for a flush
 */
export async function inGuest(
  host: LuksmithHost,
  guest: TestGuest,
  disk: number,
  command: string,
): Promise<string> {
  const device = `/machine/peripheral/virtio-disk${disk}/virtio-backend`;
  const before = logOf(host, guest).length;
  await host.libvirt.virsh("qemu-monitor-command", "--hmp", guest.uuid, `qemu-io -d ${device} "${command}"`);
  const said = logOf(host, guest).slice(before);
  // a pattern that is not there is followed by the line of a read that worked
  return (
    /^(?:Pattern verification failed|\w+ failed:).*/m.exec(said)?.[0] ??
    /^(?:wrote|read) \d+\/\d+/m.exec(said)?.[0] ??
    ""
  );
}

function logOf(host: LuksmithHost, { name }: TestGuest): string {
  return readFileSync(host.inside(`/var/log/libvirt/qemu/${name}.log`), "utf8");
}
