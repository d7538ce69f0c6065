import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { LibvirtHost } from "../../lab/libvirt-host.js";

/** The last ones that could not decrypt: LUKS came with QEMU 2.6, and libvirt 2.2.0 handed it passphrases. */
const OLD = { qemu: "2.5.1", libvirt: "2.1.0" };

/**
 * A fake, of version numbers only, since a libvirt and a QEMU that old run on no system that is still kept up: virsh
 * says the old numbers when it is asked for versions, and is the real virsh in everything else.
 * @returns the upgrade: from then on virsh tells the truth
 */
export async function fakeOldVersions(host: LibvirtHost): Promise<() => Promise<void>> {
  const { dir } = host;
  const [real, fake] = [join(dir, "virsh-real"), join(dir, "virsh-that-fakes-old-versions")];
  await writeFile(
    fake,
    `#!/bin/sh
for last; do :; done
[ "$last" = "version --daemon" ] || exec ${real} "$@"
${real} "$@" | sed -e 's/^\\(Running hypervisor: QEMU\\) .*/\\1 ${OLD.qemu}/' \\
  -e 's/^\\(Running against daemon:\\) .*/\\1 ${OLD.libvirt}/'
`,
    { mode: 0o755 },
  );
  await must(host, `cp /usr/bin/virsh ${real} && mount --bind ${fake} /usr/bin/virsh`);
  return () => must(host, "umount /usr/bin/virsh");
}

async function must(host: LibvirtHost, script: string): Promise<void> {
  const { exitCode, stderr } = await host.exec(["sh", "-c", script]);
  if (exitCode !== 0) throw new Error(`${script}: ${stderr}`);
}
