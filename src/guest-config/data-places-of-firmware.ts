import { printable } from "../error/printable.js";
import type { DataPlace } from "../host/data-place.js";
import type { PlaceOwner } from "./data-places.js";
import { isEncrypted, whereOf } from "./data-places-of-disks.js";
import type { XmlElement } from "./xml-element.js";

/** Where libvirt keeps the state of the TPMs that swtpm plays, by the domain's UUID. */
const SWTPM = "/var/lib/libvirt/swtpm";

/** Where libvirt keeps UEFI variables that the definition names no file for. */
const NVRAM = "/var/lib/libvirt/qemu/nvram";

/** Of what the guest boots with: NVRAM, TPM, kernel, and what firmware hands over. */
export function placesOfFirmware(domain: XmlElement, owner: PlaceOwner): DataPlace[] {
  const os = domain.element("os");
  return [
    ...(os === undefined ? [] : [...nvram(os, owner), ...bootFiles(os)]),
    ...(domain.element("devices")?.elements("tpm") ?? []).flatMap((tpm) => tpmState(tpm, owner)),
    ...domain.elements("sysinfo").flatMap(firmwareConfiguration),
  ];
}

function nvram(os: XmlElement, owner: PlaceOwner): DataPlace[] {
  const detail = "UEFI variables: boot entries, Secure Boot keys, what the guest stores in variables";
  const hint = "keep the directory on an encrypted file system of the host; libvirt cannot encrypt the file";
  const plain = (where: Pick<DataPlace, "where">): DataPlace => {
    return { kind: "nvram", ...where, protection: "plaintext", detail, hint };
  };
  const places: DataPlace[] = [];
  const element = os.element("nvram");
  const source = element?.element("source");
  if (source !== undefined && element !== undefined && isEncrypted(element))
    places.push({
      kind: "nvram",
      ...whereOf(source),
      protection: "encrypted",
      detail: `${detail}; by libvirt`,
    });
  else if (source !== undefined) places.push(plain(whereOf(source)));
  else if (element !== undefined && element.text.trim() !== "")
    places.push(plain({ where: element.text.trim() }));
  // a definition that leaves the choice to libvirt says more once the guest runs
  else if (os.attribute("firmware") === "efi")
    places.push(plain({ where: `${NVRAM}/${owner.name}_VARS.fd` }));
  const loader = os.element("loader");
  const isWritten = loader?.attribute("type") === "pflash" && loader.attribute("readonly") === "no";
  if (isWritten && loader.text.trim() !== "") places.push(plain({ where: loader.text.trim() }));
  const variables = os.element("varstore")?.attribute("path");
  if (variables !== undefined) places.push(plain({ where: variables }));
  return places;
}

const BOOT_FILES = ["kernel", "initrd", "dtb", "shim"] as const;

function bootFiles(os: XmlElement): DataPlace[] {
  const tables = os.element("acpi")?.elements("table") ?? [];
  const files = [...BOOT_FILES.flatMap((name) => os.elements(name)), ...tables];
  return files
    .filter(({ text }) => text.trim() !== "")
    .map(({ name, text }) => ({
      kind: "boot-files",
      where: text.trim(),
      protection: "plaintext",
      detail:
        name === "initrd"
          ? "initrd that the host gives to the guest: it can hold keys and passwords"
          : `${name} that the host gives to the guest`,
      hint: "let the guest boot from its encrypted disk, or keep the file on an encrypted file system of the host",
    }));
}

function tpmState(tpm: XmlElement, { id }: PlaceOwner): DataPlace[] {
  const backend = tpm.element("backend");
  const kind = "tpm-state";
  switch (backend?.attribute("type")) {
    case "emulator": {
      const source = backend.element("source");
      const where = source === undefined ? { where: `${SWTPM}/${id}` } : whereOf(source);
      const what = "what the guest has sealed, keys of its own disk encryption among it";
      if (backend.element("encryption") !== undefined) {
        const detail = `${what}; libvirt's secret encrypts it`;
        return [{ kind, ...where, protection: "encrypted", detail }];
      }
      const hint = "libvirt encrypts a new TPM's state: <encryption secret='UUID'/> in its <backend>";
      return [{ kind, ...where, protection: "plaintext", detail: what, hint }];
    }
    case "external": {
      const where = backend.element("source")?.attribute("path");
      const detail = "a TPM that libvirt does not run: whoever does keeps its state";
      return [{ kind, ...(where === undefined ? {} : { where }), protection: "possible", detail }];
    }
    case "passthrough": {
      const where = backend.element("device")?.attribute("path") ?? "/dev/tpm0";
      const detail = "the guest uses the host's own TPM, which keeps what the guest seals in it";
      return [{ kind, where, protection: "possible", detail }];
    }
    case undefined:
    default:
      return [];
  }
}

/** Files that the guest reads from its firmware: Ignition and cloud-init come this way too. */
function firmwareConfiguration(sysinfo: XmlElement): DataPlace[] {
  return sysinfo.elements("entry").flatMap((entry): DataPlace[] => {
    const where = entry.attribute("file");
    if (where === undefined) return [];
    const name = printable(entry.attribute("name") ?? "");
    return [
      {
        kind: "boot-files",
        where,
        protection: "plaintext",
        detail: `the guest reads it from its firmware as ${name}: it can hold passwords, keys and tokens`,
        hint: "take the entry out of the definition and delete the file once the guest has read it",
      },
    ];
  });
}
