import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { parseRoute, type RouteOptions, wiresOf } from "../../src/migration/transport.js";

function refusalOf(options: RouteOptions): LuksmithError {
  try {
    parseRoute(options);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("it was taken");
}

/** What becomes of memory, and of storage if it is copied. */
const protections = (options: RouteOptions) =>
  wiresOf(parseRoute(options)).map(({ carries, protection }) => `${carries} ${protection}`);

describe("the URI of a target", () => {
  it.each([
    ["qemu://host2/system", "tls"],
    ["qemu+tls://host2:16514/system?no_verify=1", "tls"],
    ["qemu+ssh://root@host2/system", "ssh"],
    ["qemu+libssh://host2/system", "ssh"],
    ["qemu+libssh2://host2/system", "ssh"],
    ["qemu+tcp://198.18.0.2/system", "tcp"],
    ["qemu+tcp://[fd00::2]:16509/system", "tcp"],
    ["qemu+unix:///system?socket=/run/host2.sock", "unix"],
    ["qemu:///system?socket=/run/host2.sock", "unix"],
    ["qemu+ext:///system?command=/usr/local/bin/reach-host2", "command"],
  ])("%s is reached by %s", (to, transport) => {
    expect(parseRoute({ to }).target).toEqual({ uri: to, transport });
  });

  it.each([
    ["host2", "no connection URI"],
    ["host2:16514", "no connection URI"],
    ["", "no connection URI"],
    ["ssh://host2", "not a connection to QEMU"],
    ["xen+ssh://host2/system", "not a connection to QEMU"],
    ["qemu+udp://host2/system", "no transport udp"],
    ["qemu:///system", "is this host"],
    ["qemu+unix:///system", "is this host"],
    ["qemu:///system?socket=", "is this host"],
  ])("%j is refused: %s", (to, what) => {
    const error = refusalOf({ to });
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining(what)]);
    expect(error.hint).toContain("--to qemu+tls://host2/system");
  });

  it.each(["qemu+ssh://root:opensesame@host2/system", "root:opensesame@host2", "x://root:opensesame@host2/"])(
    "%s is refused without its password",
    (to) => {
      expect(JSON.stringify(refusalOf({ to }))).not.toContain("opensesame");
      expect(refusalOf({ to }).message).not.toContain("opensesame");
    },
  );
});

describe("the options", () => {
  const to = "qemu+tls://host2/system";

  it.each<[Omit<RouteOptions, "to">, string]>([
    [{ tunnelled: true, copyStorage: true }, "--tunnelled copies no storage"],
    [{ tunnelled: true, migrateUri: "tcp://host2" }, "--tunnelled needs no --migrate-uri"],
    [{ migrateUri: "host2" }, "--migrate-uri host2 is not understood"],
    [{ migrateUri: "http://host2" }, "is not understood"],
    [{ migrateUri: "unix:relative" }, "is not understood"],
    [{ copyStorage: true, disksUri: "nbd://host2" }, "--disks-uri nbd://host2 is not understood"],
    [{ disksUri: "tcp://host2:5000" }, "--disks-uri needs --copy-storage"],
    [{ copyStorage: true, migrateUri: "unix:///run/mig" }, "needs a --disks-uri"],
  ])("%j are refused: %s", (options, what) => {
    const error = refusalOf({ to, ...options });
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining(what)]);
  });

  it.each<Omit<RouteOptions, "to">>([
    { migrateUri: "tcp:host2" },
    { migrateUri: "tcp://host2:49152", copyStorage: true },
    { migrateUri: "rdma://host2" },
    { migrateUri: "unix:///run/mig", copyStorage: true, disksUri: "unix:///run/nbd" },
    { tunnelled: true, tls: true },
  ])("%j are taken", (options) => {
    expect(parseRoute({ to, ...options })).toMatchObject(options);
  });
});

describe("what crosses the network", () => {
  it.each(["qemu+tls://h/system", "qemu+ssh://h/system", "qemu+tcp://h/system", "qemu://h/system"])(
    "is plaintext whatever the connection, %s, if nothing else is said",
    (to) => {
      expect(protections({ to })).toEqual(["memory plaintext"]);
      expect(protections({ to, copyStorage: true })).toEqual(["memory plaintext", "storage plaintext"]);
    },
  );

  it("says of an encrypted connection, and of no other, what it does encrypt", () => {
    const why = (to: string) => wiresOf(parseRoute({ to }))[0]!.by;
    expect(why("qemu://h/system")).toContain("libvirt's TLS encrypts only what the two libvirts say");
    expect(why("qemu+ssh://h/system")).toContain("SSH encrypts only what the two libvirts say");
    expect(why("qemu+tcp://h/system")).toBe("QEMU sends over TCP connections of its own");
  });

  it("is encrypted by QEMU's TLS, storage as well", () => {
    const options = { to: "qemu+tcp://h/system", tls: true, copyStorage: true } as const;
    expect(protections(options)).toEqual(["memory encrypted", "storage encrypted"]);
  });

  it.each([
    ["qemu+tls://h/system", "memory encrypted"],
    ["qemu+ssh://h/system", "memory encrypted"],
    ["qemu+tcp://h/system", "memory unknown"],
    ["qemu+ext:///system?command=x", "memory unknown"],
    ["qemu+unix:///system?socket=/s", "memory socket"],
  ])("goes by %s if it is tunnelled: %s", (to, protection) => {
    expect(protections({ to, tunnelled: true })).toEqual([protection]);
  });

  it("is encrypted in any tunnel by --tls", () => {
    expect(protections({ to: "qemu+tcp://h/system", tunnelled: true, tls: true })).toEqual([
      "memory encrypted",
    ]);
  });

  it("ends at sockets of this host, each for itself", () => {
    const sockets = { migrateUri: "unix:///mig", disksUri: "unix:///nbd" };
    const to = "qemu+tls://h/system";
    expect(protections({ to, copyStorage: true, ...sockets })).toEqual(["memory socket", "storage socket"]);
    expect(protections({ to, copyStorage: true, ...sockets, disksUri: "tcp://h:1" })).toEqual([
      "memory socket",
      "storage plaintext",
    ]);
  });

  it("is never encrypted over RDMA, which carries memory alone", () => {
    const options = {
      to: "qemu+tls://h/system",
      tls: true,
      migrateUri: "rdma://h",
      copyStorage: true,
    } as const;
    expect(protections(options)).toEqual(["memory plaintext", "storage encrypted"]);
  });
});
