import { printable } from "../error/printable.js";
import type { DataPlace } from "../host/data-place.js";
import { whereOf } from "./data-places-of-disks.js";
import type { XmlElement } from "./xml-element.js";

/** Namespace of what a definition gives to QEMU directly. */
const QEMU = "http://libvirt.org/schemas/domain/qemu/1.0";

/** Devices that write to files of the host, share its directories, or are devices of the host. */
export function placesOfDevices(domain: XmlElement): DataPlace[] {
  const devices = domain.element("devices")?.children ?? [];
  return [...devices.flatMap(placesOfDevice), ...qemuArguments(domain)];
}

function placesOfDevice(device: XmlElement): DataPlace[] {
  switch (device.namespace === "" ? device.name : "") {
    case "serial":
    case "parallel":
    case "console":
    case "channel":
    case "redirdev":
    case "smartcard":
    case "rng":
      return console(device);
    case "filesystem":
      return sharedDirectory(device);
    case "hostdev":
      return [hostDevice(device)];
    case "audio":
      return sound(device);
    case "pstore":
      return crashLog(device);
    default:
      return [];
  }
}

const CONSOLE_HINT =
  "take the file out of the definition, or keep it on an encrypted file system of the host";

function console(device: XmlElement): DataPlace[] {
  const characters = device.name === "rng" ? device.element("backend") : device;
  const file = device.attribute("type") === "file" ? device.element("source")?.attribute("path") : undefined;
  const log = characters?.element("log")?.attribute("file");
  const detail = `what the guest writes to its ${device.name}: boot messages, logins, what programs print`;
  return [file, log].flatMap((where): DataPlace[] =>
    where === undefined
      ? []
      : [{ kind: "console-log", where, protection: "plaintext", detail, hint: CONSOLE_HINT }],
  );
}

function sharedDirectory(filesystem: XmlElement): DataPlace[] {
  const source = filesystem.element("source");
  if (source === undefined || filesystem.attribute("type") === "ram") return [];
  const target = printable(filesystem.element("target")?.attribute("dir") ?? "?");
  if (source.attribute("socket") !== undefined) {
    const where = source.attribute("socket") ?? "";
    const detail = `shared with the guest as ${target}, by a daemon that libvirt does not run`;
    return [{ kind: "shared-directory", where, protection: "possible", detail }];
  }
  const isReadOnly = filesystem.element("readonly") !== undefined;
  return [
    {
      kind: "shared-directory",
      ...whereOf(source),
      protection: isReadOnly ? "possible" : "plaintext",
      detail: `shared with the guest as ${target}${isReadOnly ? ", which can only read it" : ""}`,
      hint: "keep it on an encrypted file system of the host",
    },
  ];
}

function hostDevice(device: XmlElement): DataPlace {
  const type = printable(device.attribute("type") ?? device.attribute("mode") ?? "?");
  return {
    kind: "host-device",
    protection: "possible",
    detail: `the guest has a ${type} device of the host to itself: what it writes to a disk there nobody encrypts for it`,
    hint: "let the guest encrypt it",
  };
}

function sound(audio: XmlElement): DataPlace[] {
  const where = audio.attribute("path");
  if (audio.attribute("type") !== "file" || where === undefined) return [];
  return [
    { kind: "console-log", where, protection: "plaintext", detail: "the guest's sound", hint: CONSOLE_HINT },
  ];
}

function crashLog(pstore: XmlElement): DataPlace[] {
  const where = pstore.element("path")?.text.trim();
  if (where === undefined || where === "") return [];
  const detail = "what the guest's kernel writes when it crashes";
  return [{ kind: "core-dump", where, protection: "plaintext", detail, hint: CONSOLE_HINT }];
}

function qemuArguments(domain: XmlElement): DataPlace[] {
  const [given] = ["commandline", "override"].flatMap((name) => domain.elements(name, QEMU));
  if (given === undefined || given.children.length === 0) return [];
  const detail = "the definition gives arguments of its own to QEMU, which can name any file of the host";
  return [{ kind: "qemu-arguments", protection: "possible", detail, hint: "see: virsh dumpxml" }];
}
