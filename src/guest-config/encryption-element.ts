import { type KeyUuid, parseKeyUuid } from "../keystore/key-uuid.js";
import { guestConfigInvalid } from "./guest-config-invalid.js";
import { printable } from "../error/printable.js";
import type { XmlElement } from "./xml-element.js";

/** An encryption block as the domain XML has it, ours or foreign. */
export interface EncryptionElement {
  readonly element: XmlElement;
  /** libvirt's word: `luks`, `luks2`, `luks-any`, `qcow`, `default`. */
  readonly format: string;
  /** Undefined where the block names no secret, names it by usage, or names one for each layer. */
  readonly secretUuid: KeyUuid | undefined;
  /** All else that the block says: `engine`, and `cipher.name`, `ivgen.name`, … of the elements in it. */
  readonly options: Readonly<Record<string, string>>;
}

/**
 * The encryption block of a `<disk>`: in its `<source>`, or beside it, where libvirt before 3.9 had it and still
 * accepts it. @throws GUEST_CONFIG_INVALID, as libvirt does for a disk with both
 */
export function readEncryption(dev: string, disk: XmlElement): EncryptionElement | undefined {
  const inside = disk.element("source")?.element("encryption");
  const beside = disk.element("encryption");
  if (inside && beside) throw guestConfigInvalid(`disk ${dev} has two encryption blocks`);
  const element = inside ?? beside;
  if (element === undefined) return undefined;
  const format = element.attribute("format");
  if (format === undefined) throw guestConfigInvalid(`the encryption block of disk ${dev} has no format`);
  return { element, format, secretUuid: secretUuidOf(dev, element), options: optionsOf(element) };
}

/** Secret UUIDs of the encryption blocks in the layers under a disk's own file, as libvirt prints backing chains. */
export function backingSecretUuids(disk: XmlElement): KeyUuid[] {
  const uuids: KeyUuid[] = [];
  for (let layer = disk.element("backingStore"); layer !== undefined; layer = layer.element("backingStore")) {
    const text = layer.element("source")?.element("encryption")?.element("secret")?.attribute("uuid");
    const uuid = text === undefined ? undefined : parseKeyUuid(text);
    if (uuid !== undefined) uuids.push(uuid);
  }
  return uuids;
}

function secretUuidOf(dev: string, encryption: XmlElement): KeyUuid | undefined {
  const [secret, another] = encryption.elements("secret");
  const text = secret?.attribute("uuid");
  if (text === undefined || another !== undefined) return undefined;
  const uuid = parseKeyUuid(text);
  if (uuid !== undefined) return uuid;
  throw guestConfigInvalid(
    `the encryption block of disk ${dev} names "${printable(text)}", which is no UUID`,
  );
}

function optionsOf(encryption: XmlElement): Readonly<Record<string, string>> {
  const options = new Map([...encryption.attributes].filter(([name]) => name !== "format"));
  for (const detail of encryption.children) {
    if (detail.name === "secret") continue;
    for (const [name, value] of detail.attributes) options.set(`${detail.name}.${name}`, value);
  }
  return Object.fromEntries(options);
}
