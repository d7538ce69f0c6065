import { describe, expect, it } from "vitest";
import { disk } from "../plan/builders.js";
import { check, said, there, warnings } from "./check-scene.js";

describe("the way of the data", () => {
  const answer = { disks: [there("vda", 9, "copied")] };
  const scene = { disks: [disk("vda", 1)], answer, copyStorage: true } as const;

  it("is warned of once where it is plaintext, for memory and storage", () => {
    const report = check({ ...scene, plaintext: true });
    expect(warnings(report)).toEqual([
      "the guest's memory and the content of its disks cross the network in plaintext",
    ]);
    expect(report.wires.map(({ carries }) => carries)).toEqual(["memory", "storage"]);
    expect(said(report)).toContain("--tls, with certificates on both hosts");
    expect(said(report)).not.toContain("or --tunnelled");
    expect(report.command).toBeDefined();
  });

  it.each([
    ["qemu+ssh://host2/system", "; or --tunnelled"],
    ["qemu+tcp://host2/system", "; or --tunnelled with qemu+tls or qemu+ssh in the URI of --to"],
  ])("may be a tunnel instead, if nothing is copied: %s", (to, hint) => {
    const { findings } = check({ to, plaintext: true });
    expect(findings.find(({ about }) => about === "memory")?.hint?.endsWith(hint)).toBe(true);
  });

  it("is told apart where memory and storage go different ways", () => {
    const sockets = { migrateUri: "unix:///run/mig", disksUri: "tcp://host2:1", plaintext: true } as const;
    const report = check({ ...scene, ...sockets });
    expect(warnings(report)).toEqual(["the content of its disks crosses the network in plaintext"]);
    expect(said(report)).toContain(
      "the guest's memory is not encrypted when leaving QEMU, through unix:///run/mig",
    );
  });

  it("says what TLS needs, and what a socket leaves to others", () => {
    expect(said(check({}))).toContain(
      "by QEMU's TLS, if both hosts have certificates\n\nmigrate_tls_x509_cert_dir",
    );
    const tunnel = { to: "qemu+ssh://host2/system", tunnelled: true, plaintext: true } as const;
    expect(said(check(tunnel))).not.toContain("certificates");
    const sockets = { migrateUri: "unix:///run/mig", plaintext: true } as const;
    expect(said(check(sockets))).toContain("through unix:///run/mig\n\nwhoever carries it on from there");
  });

  it("is not known of a tunnel through TCP", () => {
    const report = check({ to: "qemu+tcp://host2/system", tunnelled: true, plaintext: true });
    expect(warnings(report)).toEqual([
      "nobody here can tell whether the guest's memory is encrypted on the way",
    ]);
    expect(report.command).toContain(" --p2p --tunnelled web1 ");
  });

  it("does not get TLS from RDMA", () => {
    const report = check({ migrateUri: "rdma://host2" });
    expect(warnings(report)).toEqual(["the guest's memory crosses the network in plaintext"]);
    expect(said(report)).toContain("and use --tls");
  });
});
