import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { guestFromDomainXml } from "../../../src/guest-config/domain-guest.js";
import { incomingOf } from "../../../src/host/libvirt/incoming.js";
import { domainXml } from "../../lab/test-domain.js";

const ID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
const PID = 4711;
const VNC = "<graphics type='vnc' port='5900' autoport='yes'/>";
const MONITOR = "/var/lib/libvirt/qemu/domain-7-web1/monitor.sock";
const MEMORY = "/tmp/migrate.sock";
const STORAGE = "/tmp/nbd.sock";
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "luksmith-proc-"));
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** A QEMU that listens on these paths, and on these ports, as /proc shows it. */
function qemu(paths: readonly string[], ports: readonly number[] = []): void {
  write("run/libvirt/qemu/web1.pid", `${PID}\n`);
  write(
    `proc/${PID}/cmdline`,
    ["/usr/bin/qemu-system-x86_64", "-uuid", ID, "-incoming", "defer", ""].join("\0"),
  );
  const unix = paths.map((path, n) => `0001: 00000002 00000000 00010000 0001 01 ${n + 1} ${path}\n`);
  const tcp = ports.map((port, n) => {
    const hex = port.toString(16).toUpperCase().padStart(4, "0");
    return `   0: 00000000:${hex} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ${n + 101} 1\n`;
  });
  write(`proc/${PID}/net/unix`, unix.join(""));
  write(`proc/${PID}/net/tcp`, tcp.join(""));
  mkdirSync(join(root, `proc/${PID}/fd`));
  const inodes = [...paths.map((_, n) => n + 1), ...ports.map((_, n) => n + 101)];
  for (const inode of inodes) symlinkSync(`socket:[${inode}]`, join(root, `proc/${PID}/fd/${inode}`));
}

const incoming = (name = "web1", devices = VNC) =>
  incomingOf(guestFromDomainXml(domainXml({ name, uuid: ID, devices })), root);

const UNCLEAR: unknown = expect.objectContaining({ code: "TOOL_FAILED" });

describe("incomingOf", () => {
  it.each([
    ["memory", [MONITOR, MEMORY], []],
    ["memory", [MONITOR], [5900, 49152]],
    ["memory-and-storage", [MONITOR, MEMORY, STORAGE], []],
    ["memory-and-storage", [MONITOR], [5900, 49152, 49153]],
    ["memory-and-storage", [MONITOR, STORAGE], [49152]],
  ] as const)("is %s where QEMU listens on %j and %j", (expected, paths, ports) => {
    qemu(paths, ports);
    expect(incoming().brings).toBe(expected);
  });

  it("is memory when libvirt itself brings it through a pipe", () => {
    qemu([MONITOR], [5900]);
    expect(incoming().brings).toBe("memory");
  });

  it("is nothing where the guest starts here, whatever it listens on", () => {
    qemu([MONITOR, MEMORY, STORAGE]);
    write(`proc/${PID}/cmdline`, ["/usr/bin/qemu-system-x86_64", "-uuid", ID, ""].join("\0"));
    expect(incoming().brings).toBe("nothing");
  });

  it("leaves out whatever libvirt keeps for this run of the guest", () => {
    const agent = "/var/lib/libvirt/qemu/channel/target/domain-7-web1/org.qemu.guest_agent.0";
    qemu([MONITOR, agent, MONITOR.replace("monitor", "vnc"), MEMORY]);
    expect(incoming().brings).toBe("memory");
  });

  it("counts what another guest's directory has in it", () => {
    qemu([MONITOR, "/var/lib/libvirt/qemu/domain-8-web1/nbd.sock", MEMORY]);
    expect(incoming().brings).toBe("memory-and-storage");
  });

  it("finds the process of a guest whose name libvirt escapes", () => {
    qemu([MONITOR, MEMORY]);
    write("run/libvirt/qemu/a &lt;&amp;&gt; b.pid", String(PID));
    // what an older guest of this name has left
    write("run/libvirt/qemu/a <&> b.pid", "1");
    expect(incoming("a <&> b").brings).toBe("memory");
  });

  it("cannot tell where there is one listener too many", () => {
    qemu([MONITOR, MEMORY, STORAGE], [1234]);
    expect(() => incoming()).toThrow(UNCLEAR);
  });

  it("cannot tell where the monitor is not seen, since then it could be one of two listeners", () => {
    qemu(["/elsewhere/monitor", MEMORY]);
    expect(() => incoming()).toThrow(UNCLEAR);
  });

  it.each([
    ["without a file that names its process", () => rmSync(join(root, "run"), { recursive: true })],
    ["with a file that names none", () => write("run/libvirt/qemu/web1.pid", "")],
    ["whose process is gone", () => rmSync(join(root, "proc"), { recursive: true })],
    ["whose process is another's", () => write(`proc/${PID}/cmdline`, `qemu\0-uuid\0${ID}0\0`)],
    ["whose sockets cannot be seen", () => rmSync(join(root, `proc/${PID}/net/unix`))],
    ["whose descriptors cannot be seen", () => rmSync(join(root, `proc/${PID}/fd`), { recursive: true })],
  ])("fails for a guest %s", (_, change) => {
    qemu([MONITOR, MEMORY]);
    change();
    expect(() => incoming()).toThrow(UNCLEAR);
  });

  describe("tells of volumes", () => {
    const DISKS = ["vda", "vdb", "vdc"].map((dev) => {
      const source = `<driver name='qemu' type='raw'/><source file='/img/${dev}'/>`;
      return `<disk type='file' device='disk'>${source}<target dev='${dev}' bus='virtio'/></disk>`;
    });

    /** vda is read only so far, vdb is written, under another path and read besides; nobody has vdc open. */
    function qemuWithVolumes(blockdev: string): void {
      qemu([MONITOR, MEMORY, STORAGE]);
      write(
        `proc/${PID}/cmdline`,
        ["qemu", "-uuid", ID, "-blockdev", blockdev, "-incoming", "defer"].join("\0"),
      );
      for (const dev of ["vda", "vdb", "vdc"]) write(`img/${dev}`, "");
      linkSync(join(root, "img/vdb"), join(root, "img/other"));
      const open = [
        ["20", "vda", "02100000"],
        ["21", "other", "02100002"],
        ["22", "vdb", "02100000"],
      ] as const;
      for (const [fd, file, flags] of open) {
        symlinkSync(join(root, "img", file), join(root, `proc/${PID}/fd/${fd}`));
        write(`proc/${PID}/fdinfo/${fd}`, `pos:\t0\nflags:\t${flags}\nmnt_id:\t1\n`);
      }
    }

    it("which are written, and which are not", () => {
      qemuWithVolumes('{"driver":"file","auto-read-only":true}');
      const { brings, opened } = incoming("web1", DISKS.join(""));
      expect(brings).toBe("memory-and-storage");
      expect([...opened]).toEqual([
        ["vda", "read-only"],
        ["vdb", "for-writing"],
      ]);
    });

    it("nothing, where QEMU opens all for writing at once", () => {
      qemuWithVolumes('{"driver":"file"}');
      expect(incoming("web1", DISKS.join("")).opened.size).toBe(0);
    });
  });
});
