import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  listenersIn,
  readSocketTables,
  type SocketTables,
} from "../../../src/host/libvirt/listening-sockets.js";

/** As Linux 6.6 gives them of a QEMU 7.2 that waits for memory and storage; another process's sockets are among them. */
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     
   0: 0100007F:1645 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31285917 1 0000000012ec56bf 100 0 0 10 0                  
   1: 0100007F:1644 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31285717 1 000000005be697f7 100 0 0 10 0                  
   2: 0100007F:170F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31285913 1 000000007c90be0c 100 0 0 10 0                  
   3: 0100007F:C026 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31285926 1 00000000dfb55417 100 0 0 10 0                  
   4: 0100007F:C000 0100007F:9D2C 01 00000000:00000000 00:00000000 00000000     0        0 31285925 1 00000000a65860bd 20 4 30 10 -1                 
`;
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:C026 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31285930 1 00000000b2a1a8a5 100 0 0 10 0
`;
const UNIX = `Num       RefCount Protocol Flags    Type St Inode Path
00000000db0f468d: 00000002 00000000 00010000 0001 01 31141884 /run/libvirt/libvirt-sock
000000001cf338f4: 00000002 00000000 00010000 0001 01 31285043 /var/lib/libvirt/qemu/domain-7-m1 <x/monitor.sock
000000008c09e083: 00000002 00000000 00010000 0001 01 31285041 /run/ser sock
0000000047a0ffa3: 00000003 00000000 00000000 0001 03 31285918 /run/connected
00000000f0a7fa1d: 00000003 00000000 00000000 0001 03 31285919
`;
const INODES = [31285913, 31285917, 31285918, 31285919, 31285925, 31285926, 31285930, 31285041, 31285043];
const SAMPLE: SocketTables = {
  descriptors: ["/dev/kvm", "anon_inode:[eventfd]", ...INODES.map((inode) => `socket:[${inode}]`)],
  tcp: [TCP, TCP6],
  unix: UNIX,
};

describe("listenersIn", () => {
  it("finds what the process itself listens on, each port once", () => {
    expect(listenersIn(SAMPLE)).toEqual([
      "tcp:5701",
      "tcp:5903",
      "tcp:49190",
      "unix:/var/lib/libvirt/qemu/domain-7-m1 <x/monitor.sock",
      "unix:/run/ser sock",
    ]);
  });

  it("finds nothing of a process without sockets, or of a kernel without IPv6", () => {
    expect(listenersIn({ ...SAMPLE, descriptors: ["/dev/kvm", ""] })).toEqual([]);
    expect(listenersIn({ ...SAMPLE, tcp: [TCP, ""] })).toEqual(listenersIn(SAMPLE));
  });

  it("believes nothing when somebody's path looks like a line of the table", () => {
    const path = "/tmp/x\n0000000000000001: 00000002 00000000 00010000 0001 01 31285926 /tmp/nbd.sock";
    const unix = `${UNIX}00000000aa0f468d: 00000002 00000000 00010000 0001 01 31000000 ${path}\n`;
    expect(listenersIn({ ...SAMPLE, unix })).toBeUndefined();
  });
});

describe("readSocketTables", () => {
  it("tells what this very process listens on", async () => {
    const directory = mkdtempSync(join(tmpdir(), "luksmith-sockets-"));
    const path = join(directory, "a b");
    const [everywhere, local] = [createServer().listen(0), createServer().listen(path)];
    await Promise.all([everywhere, local].map((server) => once(server, "listening")));
    const listeners = listenersIn(readSocketTables(process.pid));
    expect(listeners).toContain(`unix:${path}`);
    expect(listeners).toContain(`tcp:${portOf(everywhere)}`);
    for (const server of [everywhere, local]) server.close();
    rmSync(directory, { recursive: true });
    await Promise.all([once(everywhere, "close"), once(local, "close")]);
    expect(listenersIn(readSocketTables(process.pid))).not.toContain(`unix:${path}`);
  });

  it("fails for a process that is gone", () => {
    expect(() => readSocketTables(4_194_305)).toThrow(/ENOENT/);
  });
});

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
