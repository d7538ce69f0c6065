import { execa } from "execa";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const GUEST = "demo";
export const MARKER = "LUKSMITH-DEMO-MARKER-7f3a19c4";

const BOOT = fileURLToPath(new URL("boot/boot.S", import.meta.url));

export interface DemoPaths {
  readonly raw: string;
  readonly qcow2: string;
  readonly serial: string;
  readonly bootSector: string;
}

export function demoPaths(dir: string): DemoPaths {
  return {
    raw: join(dir, "disk-a.img"),
    qcow2: join(dir, "disk-b.qcow2"),
    serial: join(dir, "serial.log"),
    bootSector: join(dir, "boot.bin"),
  };
}

/** Two new, empty disks, as `virt-install` or an orchestrator makes them; and the guest's program. */
export async function makeDisks({ raw, qcow2, bootSector }: DemoPaths): Promise<void> {
  await execa("qemu-img", ["create", "-q", "-f", "raw", raw, "64M"]);
  await execa("qemu-img", ["create", "-q", "-f", "qcow2", qcow2, "64M"]);
  await execa("as", ["--32", "-o", `${bootSector}.o`, BOOT]);
  await execa("ld", [
    "-m",
    "elf_i386",
    "-Ttext",
    "0x7c00",
    "--oformat",
    "binary",
    "-o",
    bootSector,
    `${bootSector}.o`,
  ]);
}

export function domainXml({ raw, qcow2, serial }: DemoPaths): string {
  return `<domain type='qemu'>
  <name>${GUEST}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='${raw}'/>
      <target dev='vda' bus='virtio'/>
      <boot order='1'/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='${qcow2}'/>
      <target dev='vdb' bus='virtio'/>
      <boot order='2'/>
    </disk>
    <serial type='file'><source path='${serial}'/><target port='0'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
`;
}
