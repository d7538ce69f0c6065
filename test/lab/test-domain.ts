import { randomUUID } from "node:crypto";

export interface TestDomain {
  readonly name: string;
  readonly uuid?: string;
  /** XML inside of `<metadata>`. */
  readonly metadata?: string;
  /** XML of `<devices>`. */
  readonly devices?: string;
}

/** A guest that QEMU emulates without KVM; without a disk that boots it sits in its firmware. */
export function domainXml({ name, uuid = randomUUID(), metadata = "", devices = "" }: TestDomain): string {
  return `<domain type='qemu'>
  <name>${escapeXml(name)}</name>
  <uuid>${uuid}</uuid>
  <metadata>${metadata}</metadata>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices>${devices}</devices>
</domain>`;
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>'"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
