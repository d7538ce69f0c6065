import { domainXml, escapeXml } from "../../lab/test-domain.js";

export interface GuestDisk {
  readonly dev: string;
  readonly path: string;
  readonly format: "raw" | "qcow2";
  /** Brings an encryption block with this secret UUID, as an orchestrator writes it. */
  readonly secretUuid?: string;
  /** What the definition says of an overlay's base; libvirt looks into the overlay where it says nothing. */
  readonly base?: Omit<GuestDisk, "dev" | "boot">;
  /** Its place in the order of what is booted from; the firmware sees no disk that has none where another one has. */
  readonly boot?: number;
}

export interface TestGuest {
  readonly name: string;
  readonly uuid: string;
  readonly disks: readonly GuestDisk[];
  /** XML inside of `<metadata>`. */
  readonly metadata?: string;
  /** XML of further devices. */
  readonly devices?: string;
}

export function guestXml({ name, uuid, disks, metadata = "", devices = "" }: TestGuest): string {
  const all = `${disks.map(diskXml).join("")}${devices}<memballoon model='none'/>`;
  return domainXml({ name, uuid, metadata, devices: all });
}

function diskXml({ dev, format, base, boot, ...source }: GuestDisk): string {
  return `<disk type='${typeOf(source)}' device='disk'>
    <driver name='qemu' type='${format}'/>
    ${sourceXml(source)}
    ${base === undefined ? "" : baseXml(base)}
    <target dev='${dev}' bus='virtio'/>
    ${boot === undefined ? "" : `<boot order='${boot}'/>`}
  </disk>`;
}

function sourceXml({ path, secretUuid }: Pick<GuestDisk, "path" | "secretUuid">): string {
  const block =
    secretUuid === undefined
      ? ""
      : `<encryption format='luks'><secret type='passphrase' uuid='${secretUuid}'/></encryption>`;
  const attribute = typeOf({ path }) === "block" ? "dev" : "file";
  return `<source ${attribute}='${escapeXml(path)}'>${block}</source>`;
}

function typeOf({ path }: Pick<GuestDisk, "path">): "block" | "file" {
  return path.startsWith("/dev/") ? "block" : "file";
}

function baseXml({ format, base, ...source }: NonNullable<GuestDisk["base"]>): string {
  const under = base === undefined ? "<backingStore/>" : baseXml(base);
  return `<backingStore type='${typeOf(source)}'><format type='${format}'/>${sourceXml(source)}${under}</backingStore>`;
}

/** What Nova writes into a domain for a flavor and an image with these extra specs and properties. */
export function novaMetadata(
  flavor: Readonly<Record<string, string>>,
  image: Readonly<Record<string, string>> = {},
): string {
  const items = (tag: string, values: Readonly<Record<string, string>>) =>
    Object.entries(values)
      .map(([name, value]) => `<nova:${tag} name='${name}'>${value}</nova:${tag}>`)
      .join("");
  return `<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>
    <nova:flavor name='m1.secret'><nova:extraSpecs>${items("extraSpec", flavor)}</nova:extraSpecs></nova:flavor>
    <nova:image uuid='0d7f1f0c-3a5c-4b5f-9d43-5a3f6b1c2d3e'>
      <nova:properties>${items("property", image)}</nova:properties>
    </nova:image>
  </nova:instance>`;
}

/** A guest whose flavor asks for encryption. */
export const FLAVOR_ASKS = novaMetadata({ "hw:ephemeral_encryption": "true" });

/** Luksmith's own element; `attributes` as they stand in the XML. */
export function luksmithMetadata(attributes: string, devs: readonly string[] = []): string {
  const disks = devs.map((dev) => `<luksmith:disk dev='${dev}'/>`).join("");
  return `<luksmith:encryption xmlns:luksmith='urn:luksmith:guest:1' ${attributes}>${disks}</luksmith:encryption>`;
}
