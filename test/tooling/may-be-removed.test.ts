import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { temporaryDirectory } from "../fs/tree.js";

const STORAGES =
  "dir: local\n\tpath /var/lib/vz\n\nluksmith: vault\n\tbase-path /srv/vault\n\tcontent images\n";

let root: string;

beforeEach(() => {
  root = temporaryDirectory();
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Whether the package may be removed from a host with these files, and the reasons why not. */
function ask(): { readonly allowed: boolean; readonly causes: string[]; readonly hints: string[] } {
  const { status, stderr, stdout } = spawnSync("perl", [".config/package/may-be-removed", root], {
    encoding: "utf8",
  });
  expect(stdout).toBe("");
  const lines = stderr.split("\n");
  const named = (word: string) =>
    lines.filter((line) => line.startsWith(word)).map((l) => l.slice(word.length));
  return { allowed: status === 0, causes: named("cause: "), hints: named("hint: ") };
}

const ALLOWED = { allowed: true, causes: [], hints: [] };
const refused = (...causes: string[]) =>
  expect.objectContaining({
    allowed: false,
    causes: expect.arrayContaining(causes.map((c): unknown => expect.stringMatching(c))) as unknown,
  }) as unknown;

describe("the package may be removed", () => {
  it("from a host without a host manager", () => {
    expect(ask()).toEqual(ALLOWED);
  });

  it("from a node without encrypted storage", () => {
    write("etc/pve/storage.cfg", "dir: local\n\tpath /srv/vault\n");
    write("etc/pve/nodes/one/qemu-server/100.conf", "scsi0: local:100/vm-100-disk-0.raw,size=1G\n");
    write("srv/vault/vm-100-disk-0.luks", "");
    expect(ask()).toEqual(ALLOWED);
  });

  it("from a host whose libvirt starts the hooks of another tree", () => {
    write(
      "etc/libvirt/hooks/qemu.d/luksmith",
      "node='/usr/bin/node'\nhook='/opt/luksmith/dist/hooks/x.js'\n",
    );
    expect(ask()).toEqual(ALLOWED);
  });
});

describe("the package may not be removed", () => {
  it("while libvirt starts its hooks", () => {
    write("etc/libvirt/hooks/qemu.d/luksmith", "hook='/usr/lib/luksmith/dist/hooks/pre-start.js'\n");
    expect(ask()).toEqual(refused("^libvirt's hook .* starts it for every guest$"));
    expect(ask().hints).toEqual(["first run: luksmith uninstall --host libvirt"]);
  });

  it.each([
    ["an empty storage", STORAGES],
    ["a storage of other nodes, which this one would drop", `${STORAGES}\tnodes not-${hostname()}\n`],
  ])("while there is %s", (_, storages) => {
    write("etc/pve/storage.cfg", storages);
    write("srv/vault/.luksmith-base", "1");
    expect(ask().causes).toEqual([`storage vault is in ${root}/etc/pve/storage.cfg`]);
  });

  it("while a directory has neither volumes nor our mark: its file system may not be mounted", () => {
    write("etc/pve/storage.cfg", STORAGES);
    write("srv/vault/lost+found", "");
    expect(ask()).toEqual(refused("^cannot tell whether storage vault has .* may be away$"));
  });

  it.each(["vm-100-disk-0", "base-9000-disk-1", "vm-100-state-before", "vm-100-cloudinit"])(
    "while there is the volume %s",
    (name) => {
      write("etc/pve/storage.cfg", STORAGES);
      write(`srv/vault/${name}.luks`, "");
      expect(ask()).toEqual(refused("^storage vault has 1 encrypted volume$"));
    },
  );

  it.each([
    ["a disk", "scsi0: vault:vm-100-disk-0,size=1G\n"],
    ["an unused disk", "unused0: vault:vm-100-disk-0\n"],
    [
      "a disk in a snapshot",
      "scsi0: local:1\n\n[before]\nscsi0: vault:vm-100-disk-0\nvmstate: vault:vm-100-state-before\n",
    ],
    ["a pending disk", "\n[PENDING]\nefidisk0: vault:vm-100-disk-0\n"],
  ])("while a guest of any node has %s on the storage", (_, text) => {
    write("etc/pve/storage.cfg", STORAGES);
    mkdirSync(join(root, "srv/vault"), { recursive: true });
    write("etc/pve/nodes/two/qemu-server/100.conf", text);
    write("etc/pve/nodes/two/qemu-server/101.conf", "scsi0: vaulted:vm-101-disk-0\n#scsi1: vault:none\n");
    expect(ask()).toEqual(refused("^guest 100 on node two has a disk on storage vault$"));
  });

  it("while that cannot be told: in doubt it stays", () => {
    write("usr/share/perl5/PVE/Storage.pm", "");
    mkdirSync(join(root, "etc/pve"), { recursive: true });
    expect(ask()).toEqual(refused("^cannot tell .*storage.cfg cannot be read$"));
    write("etc/pve/storage.cfg", STORAGES);
    expect(ask()).toEqual(
      refused("^cannot tell whether storage vault has encrypted volumes: /srv/vault: No such"),
    );
    write("etc/pve/storage.cfg", "luksmith: thin\n\tbase-vg no-such-group\n");
    expect(ask()).toEqual(refused("^cannot tell whether storage thin has .*lvs failed$"));
    write("etc/pve/storage.cfg", "luksmith: new\n\tbase-tape /dev/st0\n");
    expect(ask()).toEqual(refused("^cannot tell whether storage new has .*no base that this version knows$"));
  });

  it("while our own record has a storage that another node stripped from the configuration", () => {
    write("etc/pve/storage.cfg", "dir: local\n\tpath /var/lib/vz\n");
    const base = { type: "directory", path: "/srv/vault" };
    write(
      "etc/pve/luksmith/storages.json",
      JSON.stringify({ version: 1, storages: [{ id: "vault", base }] }),
    );
    expect(ask()).toEqual(refused("^storage vault is in .*storages.json, but not in storage.cfg$"));
  });

  it("and says how it can be all the same, and no more reasons than one can read", () => {
    write("etc/pve/storage.cfg", STORAGES);
    mkdirSync(join(root, "srv/vault"), { recursive: true });
    for (let id = 100; id < 150; id++)
      write(`etc/pve/nodes/one/qemu-server/${id}.conf`, `scsi0: vault:vm-${id}-disk-0\n`);
    const { causes, hints } = ask();
    expect(causes).toHaveLength(11);
    expect(causes.at(-1)).toBe("and 42 more like these");
    expect(hints.join()).toContain("qm disk move");
  });
});
