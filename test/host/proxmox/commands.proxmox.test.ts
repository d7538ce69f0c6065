import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";

const NAMESPACE = join(import.meta.dirname, "perl/namespace.sh");
const VOLUME = "vm-100-disk-0";
const CONFIG = { name: "web", scsi0: `enc:${VOLUME},size=4M` };

/** Makes one encrypted storage, one VM with a disk on it, and the command line as `luksmith`. */
const NODE = `
set -u
mkdir -p /run/base /etc/pve/luksmith /etc/pve/priv/luksmith /etc/pve/nodes/pve1/qemu-server
ln -s nodes/pve1 /etc/pve/local
printf 'dir: local\\n\\tpath /v\\n\\nluksmith: enc\\n\\tbase-path /run/base\\n' >/etc/pve/storage.cfg
printf 'name: web\\nscsi0: enc:${VOLUME},size=4M\\n' >/etc/pve/nodes/pve1/qemu-server/100.conf
printf 'name: db\\ntags: encrypt\\nscsi0: local:102/vm-102-disk-0.raw,size=4M\\n' >/etc/pve/nodes/pve1/qemu-server/102.conf
luksmith() { "$NODE" dist/cli/luksmith.js "$@"; }
hook() { "$NODE" "dist/hooks/$1.js" proxmox "$2" "$1"; }
storage='{"id":"enc","base":{"type":"directory","path":"/run/base"}}'
printf '{"version":1,"op":"record-storage","storage":%s}' "$storage" | luksmith bridge >/dev/null
printf '{"version":1,"op":"create","storage":%s,"volume":"${VOLUME}","vmid":100,"size":4194304}' "$storage" |
  luksmith bridge >/dev/null
read -r _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ since _ <"/proc/$$/stat"
start="$$-$since-0"
`;

/** Runs a script on a node of its own. */
function onNode(script: string) {
  const { status, stdout, stderr } = spawnSync("sh", [NAMESPACE, "sh", "-c", `${NODE}\n${script}`], {
    encoding: "utf8",
    cwd: resolve("."),
    env: { PATH: process.env["PATH"], NODE: process.execPath },
    timeout: 110_000,
  });
  return { status, stdout, stderr };
}

/** What a script says between marks of these names. */
function parts(stdout: string): ReadonlyMap<string, string> {
  const [, ...sections] = stdout.split(/^== /m);
  return new Map(
    sections.map((section): [string, string] => {
      const end = section.indexOf("\n");
      return [section.slice(0, end), section.slice(end + 1)];
    }),
  );
}

const REFUSED: readonly (readonly [command: string, hint: string])[] = [
  ["protect 100 --disk scsi0", "qm disk move 100 DISK STORAGE"],
  ["convert 100 scsi0", "qm disk move 100 scsi0 STORAGE"],
  ["attach 100 scsi1 /x", "qm set 100 --scsi1 STORAGE:SIZE"],
  ["detach web scsi1", "qm set VMID --delete scsi1"],
  ["grow 100 scsi0 8G", "qm disk resize 100 scsi0 SIZE"],
  ["adopt 100 scsi0 --volume /dev/a/b --key-file /x", "qm disk import 100 FILE STORAGE"],
  ["allocate --backend raw /x 1G", "qm set VMID --DISK STORAGE:SIZE"],
  ["migrate-check 100 --to qemu+ssh://b/system", "qm migrate 100 NODE"],
];

describe("the commands on a node of Proxmox VE", () => {
  let found: ReadonlyMap<string, string>;
  let stderr = "";

  beforeAll(() => {
    const input = JSON.stringify({ version: 1, vmid: 100, start: "START", config: CONFIG });
    const refused = REFUSED.map(
      ([command]) => `echo '== ${command}'; luksmith ${command} 2>&1; echo "exit $?"`,
    );
    const answer = onNode(`
      echo '== status'; luksmith status web --json
      echo '== plan'; luksmith plan pre-start 100
      echo '== settings'; luksmith settings get --json
      echo '== set'; echo '{"version":1,"logLevel":"warn"}' | luksmith settings set; cat /etc/pve/luksmith/settings.json
      echo '== hook'; echo '${input}' | sed "s/START/$start/" | hook pre-start 100; echo "exit $?"
      stat -c '%a %s %n' "/run/luksmith/vm/100/$start/scsi0"
      echo '== stop'; echo '${input}' | sed "s/START/$start/" | hook post-stop 100; echo "exit $?"; ls /run/luksmith/vm/100
      echo '== broken'; echo nonsense >/etc/pve/luksmith/settings.json
      echo '${input}' | sed "s/START/$start/" | hook pre-start 100 2>&1; echo "exit $?"
      rm /etc/pve/luksmith/settings.json
      echo '== doctor'; luksmith doctor --json
      echo '== reap'; luksmith reap
      echo '== capabilities'; luksmith capabilities --for web; echo "exit $?"
      echo '== moved'; luksmith capabilities --for db 2>&1; echo "exit $?"
      echo '== xml'; luksmith capabilities --for - 2>&1 </dev/null; echo "exit $?"
      echo '== here'; luksmith capabilities
      echo '== help'; for command in status plan keys capabilities; do luksmith $command --help; done
      echo '== key'; luksmith keys list --json
      echo '== delete'; luksmith keys delete --yes "$(luksmith status web --json | sed -n 's/.*"key": *"\\([^"]*\\)".*/\\1/p')" 2>&1; echo "exit $?"
      ${refused.join("\n")}
      echo '== end'
    `);
    stderr = answer.stderr;
    found = parts(answer.stdout);
  }, 120_000);

  it("tell which disks are encrypted, and what the next start does", () => {
    expect(JSON.parse(found.get("status") ?? stderr)).toMatchObject({
      guests: [
        { id: "100", name: "web", running: false, disks: [{ device: "scsi0", protection: "encrypted" }] },
      ],
    });
    expect(found.get("plan")).toBe("1. give the host the passphrases of disk scsi0\n");
  });

  it("have their settings in the cluster's file system", () => {
    expect(JSON.parse(found.get("settings") ?? stderr)).toMatchObject({
      path: "/etc/pve/luksmith/settings.json",
    });
    expect(found.get("set")).toBe(
      'saved: /etc/pve/luksmith/settings.json\n{"version":1,"logLevel":"warn"}\n',
    );
  });

  it("go with hooks that give a start its passphrases, and take them away", () => {
    expect(found.get("hook")).toMatch(
      /^luksmith: done\nexit 0\n600 88 \/run\/luksmith\/vm\/100\/\S+\/scsi0\n$/,
    );
    expect(found.get("stop")).toBe("luksmith: done\nexit 0\n");
  });

  it("and with a start that is refused while the cluster's settings are broken", () => {
    expect(found.get("broken")).toContain("/etc/pve/luksmith/settings.json");
    expect(found.get("broken")).toContain("exit 6");
    expect(found.get("broken")).not.toContain("luksmith: done");
  });

  it("find out what is wrong", () => {
    const { checks } = JSON.parse(found.get("doctor") ?? stderr) as {
      checks: { name: string; result: string }[];
    };
    const named = (name: string) => checks.find((check) => check.name === name);
    expect(named("encrypted storages")).toMatchObject({ result: "ok" });
    expect(named("hook")).toMatchObject({ result: "failed" });
    expect(named("qm")).toMatchObject({ result: "failed" });
    expect(named("virsh")).toBeUndefined();
    expect(named("keys of guests")).toMatchObject({ result: "ok" });
    expect(found.get("reap")).toContain("nothing to do");
    expect(found.get("capabilities")).toContain("scsi0");
  });

  it("name the command that moves a plain disk which must be encrypted, and none of libvirt's", () => {
    const { checks } = JSON.parse(found.get("doctor") ?? stderr) as {
      checks: { name: string; result: string; detail: string; hint?: string }[];
    };
    const guests = checks.filter(({ name }) => name === "guests");
    expect(guests).toMatchObject([{ result: "warning" }]);
    expect(guests[0]?.detail).toContain(
      "db (cannot start guest db: disk scsi0 must be encrypted and is not)",
    );
    expect(guests[0]?.hint).toContain("qm disk move 102 scsi0 enc --delete 1");
    expect(found.get("moved")).toContain("hint: qm disk move 102 scsi0 enc --delete 1");
    expect(found.get("moved")).toContain("exit 3");
    expect(found.get("xml")).toContain("name it by its VMID");
    expect(found.get("here")).toMatch(/^host: proxmox, QEMU /);
    expect(found.get("help")).toContain("UUID or VMID");
    const told = ["doctor", "moved", "xml", "capabilities", "reap"].map((name) => found.get(name)).join("\n");
    expect(told).not.toMatch(/virsh|libvirt/);
  });

  it("do not delete the key of a disk that a VM has", () => {
    expect(found.get("delete")).toContain("disk scsi0 of guest web uses it");
    expect(found.get("delete")).toContain("exit 3");
  });

  it.each(REFUSED)("refuse %s, and name Proxmox VE's own", (command, hint) => {
    expect(found.get(command)).toContain(`is not for guests of Proxmox VE`);
    expect(found.get(command)).toContain(hint);
    expect(found.get(command)).toContain("exit 3");
  });
});
