import { expect, it } from "vitest";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { domainXml } from "../fixtures/domains/domains.js";

const KEY = "7f3a0c54-9b1e-4d27-8a60-1c2d3e4f5a6b";

/** What an external snapshot makes of a disk that names a mapping. */
function overlayOver(name: string): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/srv/vm/snap.qcow2'/>
    <backingStore type='block'><format type='raw'/><source dev='/dev/mapper/${name}'/><backingStore/></backingStore>
    <target dev='vdz' bus='virtio'/></disk></devices>`;
}

it("knows the key of a mapping that lies under a snapshot's file, by its name or by the metadata", () => {
  const xml = domainXml("mapped-disks");
  const legacy = /name="([^"]*-dmcrypt)"[^>]*secret="([^"]*)"/.exec(xml);
  const layers: [string, string][] = [
    [`luksmith-vm1-${KEY}`, KEY],
    [legacy?.[1] ?? "", legacy?.[2] ?? ""],
  ];
  for (const [name, key] of layers) {
    const { disks } = guestFromDomainXml(xml.replace("</devices>", overlayOver(name)));
    expect(disks.mapping["vdz"]).toMatchObject({ encrypted: false, backingSecretUuids: [key] });
  }
});
