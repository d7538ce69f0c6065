import { execa } from "execa";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { LuksmithHost } from "../../e2e/support/luksmith-host.js";
import type { GuestDisk } from "../../e2e/support/guests.js";

const IMAGES = "/var/lib/libvirt/images";
const SIZES = { vda: "20G", vdb: "200G" } as const;

/**
 * A small office: a guest that runs on encrypted disks, one whose disks are formatted at its next start, one that a rule
 * asks to be encrypted and that is not, one that nobody asks about, and one whose volume is gone.
 */
export async function furnish(host: LuksmithHost, keystore: object): Promise<void> {
  await host.libvirt.exec(["hostname", "kvm1"]);
  await mkdir(host.inside(IMAGES), { recursive: true });
  await host.settings({
    version: 1,
    keystores: [keystore, { name: "local", type: "file" }],
    profiles: [
      { name: "default", cache: "memory" },
      { name: "on-host", keystore: "local" },
    ],
    rules: [
      { name: "finance", guest: "finance-*" },
      { name: "lab", guest: "lab-*", profile: "on-host" },
    ],
  });
  const ledger = await define(host, "finance-ledger", ["vda", "vdb"]);
  await define(host, "finance-archive", ["vda"]);
  await define(host, "lab-1", ["vda"]);
  await define(host, "intranet", ["vda", "vdb"]);
  await define(host, "old-mail", ["vda"]);
  await host.must("protect", "finance-ledger");
  await host.libvirt.virsh("start", ledger);
  await host.must("protect", "lab-1");
  await host.must("protect", "old-mail", "--now");
  await host.libvirt.exec(["rm", pathOf("old-mail", "vda")]);
}

/** @returns the guest's UUID */
async function define(
  host: LuksmithHost,
  name: string,
  devices: readonly (keyof typeof SIZES)[],
): Promise<string> {
  const disks = await Promise.all(
    devices.map(async (dev): Promise<GuestDisk> => {
      const path = pathOf(name, dev);
      await execa("qemu-img", ["create", "-q", "-f", "qcow2", "--", host.inside(path), SIZES[dev]]);
      return { dev, path, format: "qcow2" };
    }),
  );
  return (await host.define({ name, disks })).uuid;
}

function pathOf(guest: string, dev: string): string {
  return join(IMAGES, `${guest}-${dev}.qcow2`);
}
