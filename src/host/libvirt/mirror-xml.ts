import { create } from "xmlbuilder2";
import type { MirrorTarget } from "../disk-mirror.js";

/** The `<disk>` that `virsh blockcopy --xml` takes: libvirt reads its source and its image format, and nothing else. */
export function mirrorXml({ volume, secretUuid }: MirrorTarget): string {
  const attribute = volume.kind === "block" ? "@dev" : "@file";
  const secret = { secret: { "@type": "passphrase", "@uuid": secretUuid } };
  const encryption = secretUuid === undefined ? {} : { encryption: { "@format": "luks", ...secret } };
  return create({
    disk: {
      "@type": volume.kind,
      "@device": "disk",
      driver: { "@name": "qemu", "@type": volume.format },
      source: { [attribute]: volume.path, ...encryption },
    },
  }).end({ headless: true });
}
