import type { DataPlace } from "../host/data-place.js";
import type { PlaceOwner } from "./data-places.js";
import type { XmlElement } from "./xml-element.js";

/** memory_backing_dir of qemu.conf, where nobody set another. */
const BACKING = "/var/lib/libvirt/qemu/ram";
/** auto_dump_path of qemu.conf, where nobody set another. */
export const DUMPS = "/var/lib/libvirt/qemu/dump";

/** Memory of the guest in files, while it runs and after it crashed. Hugepages and memfd are no files on a disk. */
export function placesOfMemory(domain: XmlElement, owner: PlaceOwner): DataPlace[] {
  const devices = domain.element("devices");
  return [
    ...backingFile(domain, owner),
    ...(devices?.elements("memory") ?? []).flatMap(memoryDevice),
    ...(devices?.elements("shmem") ?? []).flatMap(sharedMemory),
    ...coreDump(domain),
  ];
}

function backingFile(domain: XmlElement, { running }: PlaceOwner): DataPlace[] {
  if (!liesInFile(domain)) return [];
  return [
    {
      kind: "memory-file",
      where: BACKING,
      protection: running ? "plaintext" : "possible",
      detail: `the guest's memory is a file below it ${running ? "now" : "while the guest runs"}`,
      hint: "<source type='memfd'/> in <memoryBacking>, which serves virtiofs as well",
    },
  ];
}

/** As libvirt decides: shared memory is a file unless something says otherwise. */
function liesInFile(domain: XmlElement): boolean {
  const backing = domain.element("memoryBacking");
  if (backing?.element("hugepages") !== undefined) return false;
  const source = backing?.element("source")?.attribute("type");
  if (source !== undefined) return source === "file";
  const cells = domain.element("cpu")?.element("numa")?.elements("cell") ?? [];
  return (
    backing?.element("access")?.attribute("mode") === "shared" ||
    cells.some((cell) => cell.attribute("memAccess") === "shared")
  );
}

function memoryDevice(memory: XmlElement): DataPlace[] {
  const where = memory.element("source")?.element("path")?.text.trim();
  if (where === undefined || where === "") return [];
  const detail = "persistent memory of the guest: a disk that is not encrypted";
  const hint =
    "let the guest encrypt what it stores there, or keep the file on an encrypted file system of the host";
  return [{ kind: "memory-file", where, protection: "plaintext", detail, hint }];
}

function sharedMemory(shmem: XmlElement): DataPlace[] {
  const name = shmem.attribute("name");
  if (name === undefined) return [];
  const detail = "memory that the guest shares with others, in the host's memory";
  return [{ kind: "memory-file", where: `/dev/shm/${name}`, protection: "possible", detail }];
}

function coreDump(domain: XmlElement): DataPlace[] {
  const asked = [
    ...(/^coredump-/.test(domain.element("on_crash")?.text.trim() ?? "") ? ["on_crash"] : []),
    ...((domain.element("devices")?.elements("watchdog") ?? []).some(
      (dog) => dog.attribute("action") === "dump",
    )
      ? ["the watchdog"]
      : []),
  ];
  if (asked.length === 0) return [];
  return [
    {
      kind: "core-dump",
      where: DUMPS,
      protection: "possible",
      detail: `libvirt writes the guest's memory there when it crashes (${asked.join(", ")})`,
      hint: "<on_crash>destroy</on_crash>, and a watchdog action other than dump",
    },
  ];
}
