import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type LibvirtHost, startLibvirtHost } from "../../lab/libvirt-host.js";
import { domainXml } from "../../lab/test-domain.js";

let host: LibvirtHost;

beforeAll(async () => {
  host = await startLibvirtHost();
});

afterAll(() => host.stop());

/** Asks in every hook as LibvirtHostAdapter does, and keeps how that went; a deadlock would end with the timeout. */
const HOOK = `#!/bin/sh
answer=$(timeout 20 virsh -q -c qemu:///system 'version --daemon' 2>&1)
echo "$2 $? $(echo "$answer" | grep -c '^Running')" >>"@/$1.log"
`;

it("libvirtd tells its versions while it waits for a guest's hook, also for several guests", async () => {
  const script = HOOK.replace("@", host.dir);
  const path = "/etc/libvirt/hooks/qemu";
  await host.exec(["sh", "-c", `mkdir -p /etc/libvirt/hooks; cat >${path}; chmod +x ${path}`], {
    input: script,
  });
  await host.restartDaemon();
  const names = ["web1", "web2", "web3"];
  for (const name of names) await host.define(domainXml({ name }));
  await Promise.all(names.map((name) => host.virsh("start", name)));
  await Promise.all(names.map((name) => host.virsh("destroy", name)));
  for (const name of names) {
    const lines = (await readFile(`${host.dir}/${name}.log`, "utf8")).trimEnd().split("\n");
    const hooks = ["prepare", "start", "started", "stopped", "release"];
    expect(lines).toEqual(hooks.map((operation) => `${operation} 0 2`));
  }
});
