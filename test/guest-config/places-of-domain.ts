import { dataPlacesOfDomain, type PlaceOwner } from "../../src/guest-config/data-places.js";
import type { DataPlace } from "../../src/host/data-place.js";

export const ID = "1c52488a-030a-473c-8447-ca7960e68062";
export const SECRET = "6f1c2f0a-5d0e-4d2b-8a57-0c3f5b9e7d11";
export const BLOCK = `<encryption format='luks'><secret type='passphrase' uuid='${SECRET}'/></encryption>`;

interface Parts {
  readonly devices?: string;
  readonly os?: string;
  readonly more?: string;
  readonly name?: string;
}

export function domain({ devices = "", os = "", more = "", name = "web1" }: Parts): string {
  return `<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>${name}</name>
    <uuid>${ID}</uuid><os><type>hvm</type>${os}</os>${more}<devices>${devices}</devices></domain>`;
}

interface Look extends Partial<PlaceOwner> {
  readonly label?: string;
}

/** As they are found; every volume has this label. */
export function placesIn(xml: string, { label, ...owner }: Look = {}): DataPlace[] {
  const web1 = { id: ID, name: "web1", running: false, definition: "persistent" } as const;
  return dataPlacesOfDomain(xml, { ...web1, ...owner }, () => label);
}

/** Each place as one line. */
export function places(parts: Parts, state: "running" | "stopped" = "stopped"): string[] {
  return placesIn(domain(parts), { running: state === "running" }).map(
    ({ kind, protection, where = "" }) => `${kind} ${protection} ${where}`,
  );
}

export const file = (path: string, more = "", device = "disk", dev = "vda") =>
  `<disk type='file' device='${device}'><source file='${path}'/><target dev='${dev}'/>${more}</disk>`;
