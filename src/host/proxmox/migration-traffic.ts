import type { DataPlace } from "../data-place.js";

/** Whether Proxmox VE sends what migrates in plaintext: datacenter.cfg(5), migration. */
export function sendsPlaintext(datacenter: string): boolean {
  const options = new Map(
    datacenter.split("\n").flatMap((line): [string, string][] => {
      const [, name, value] = /^([a-z_]+):\s*(.*\S)\s*$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value]];
    }),
  );
  const words = (options.get("migration") ?? "").split(",").map((word) => word.replace(/^type=/, "").trim());
  return words.includes("insecure") || /^(1|on|yes|true)$/i.test(options.get("migration_unsecure") ?? "");
}

/** What can be read on the way to another node. */
export function migrationPlaces(datacenter: string): DataPlace[] {
  if (!sendsPlaintext(datacenter)) return [];
  return [
    {
      kind: "migration",
      where: "/etc/pve/datacenter.cfg",
      protection: "possible",
      detail: "a live migration sends the guest's memory, and its local disks decrypted, in plaintext",
      hint: "set migration: secure in /etc/pve/datacenter.cfg",
    },
  ];
}
