import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import type { Guest } from "../../src/host/host-adapter.js";

const DISKS = `
    <disk type='file'><source file='/srv/vm/a.img'/><target dev='vda'/></disk>
    <disk type='block'><source dev='/dev/vg/b'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/srv/iso/c.iso'/><target dev='sda' bus='sata'/></disk>`;

/** A guest of two disks and a CD-ROM drive, with this in its `<metadata>`. */
export function guestWith(metadata: string, disks = DISKS): Guest {
  return guestFromDomainXml(`<domain type='kvm'>
  <name>web1</name>
  <uuid>0123abcd-4567-489a-8bcd-ef0123456789</uuid>
  <metadata>${metadata}</metadata>
  <devices>${disks}</devices>
</domain>`);
}

/** Nova's metadata with these flavor extra specs and image properties. */
export function nova(
  specs: Readonly<Record<string, string>>,
  properties: Readonly<Record<string, string>> = {},
): string {
  const entries = (element: string, values: Readonly<Record<string, string>>) =>
    Object.entries(values).map(
      ([name, value]) => `<nova:${element} name="${name}">${value}</nova:${element}>`,
    );
  return `<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
    <nova:flavor name="m1.small"><nova:extraSpecs>${entries("extraSpec", specs).join("")}</nova:extraSpecs></nova:flavor>
    <nova:image uuid="70a599e0"><nova:properties>${entries("property", properties).join("")}</nova:properties></nova:image>
  </nova:instance>`;
}

/** Luksmith's own metadata. */
export function luksmith(attributes: string, content = ""): string {
  return `<luksmith:encryption xmlns:luksmith="urn:luksmith:guest:1" ${attributes}>${content}</luksmith:encryption>`;
}
