import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { vi } from "vitest";
import { escapeXml } from "../../lab/test-domain.js";
import type { TestGuest } from "./guests.js";
import type { LuksmithHost } from "./luksmith-host.js";
import { MIB } from "./volumes.js";

/** Of `virsh migrate`: MiB per second. */
export const SLOW = ["--bandwidth", "1"] as const;

/**
 * Gives a guest memory that takes 24 s to migrate when it is done slowly: QEMU sends no page that is zero, and the
 * firmware leaves nearly all of them so. From its next start on; both hosts must see `host.images`.
 */
export async function fillMemory(host: LuksmithHost, guest: TestGuest): Promise<void> {
  const noise = host.newPath("noise");
  await writeFile(noise, randomBytes(24 * MIB));
  const loader = `loader,file=${escapeXml(noise)},addr=0x400000,force-raw=on`;
  const more = `<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
    <qemu:arg value='-device'/><qemu:arg value='${loader}'/>
  </qemu:commandline>`;
  await host.libvirt.define((await host.definition(guest)).replace("</domain>", `${more}</domain>`));
}

/** Waits until memory of a guest crosses the network. */
export async function inTheMiddle(host: LuksmithHost, { uuid }: TestGuest): Promise<void> {
  await vi.waitFor(
    async () => {
      const info = await host.libvirt.virsh("domjobinfo", uuid);
      if (!/Normal pages: +[1-9]/.test(info)) throw new Error(`no memory has been sent: ${info}`);
    },
    { timeout: 20_000, interval: 20 },
  );
}
