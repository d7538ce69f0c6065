import { describe, expect, it } from "vitest";
import { disk, uuid } from "../plan/builders.js";
import { check, contents, refusals, said, there, TO, warnings } from "./check-scene.js";

describe("the other Luksmith", () => {
  it("answers for a guest on shared storage: nothing speaks against it", () => {
    const report = check({ disks: [disk("vda", 1)], answer: { disks: [there("vda", 1, "same")] } });
    expect(report.findings.map(({ level }) => level)).toEqual(["ok", "ok"]);
    expect(report.disks).toEqual([{ ...there("vda", 1, "same"), readOnly: false }]);
    expect(report.command).toBe(`virsh migrate --live --persistent --undefinesource --tls web1 ${TO}`);
  });

  it("refuses in its own words, and then no command is given", () => {
    const problem = { code: "KEY_NOT_FOUND", what: "no key", why: "no keystore has it", hint: "copy it" };
    const report = check({ disks: [disk("vda", 1)], answer: { problem } });
    expect(report.findings).toContainEqual({ level: "refused", about: "target", ...problem });
    expect(contents(report)).toEqual(["vda unknown"]);
    expect(report).not.toHaveProperty("command");
  });

  it("is of another version: a warning", () => {
    const report = check({ answer: { version: "0.2.0" } });
    expect(warnings(report)).toEqual(["Luksmith 0.2.0 answers there, and this host has 0.1.0"]);
    expect(report).toHaveProperty("command");
  });

  it("must be there for a guest with encrypted disks", () => {
    const report = check({ disks: [disk("vda", 1)], answer: "none" });
    expect(refusals(report)).toEqual([`HOOK_NOT_INSTALLED: no Luksmith answers at ${TO}`]);
    expect(report).not.toHaveProperty("command");
  });

  it.each(["none", {}] as const)("need not be there for a guest without: %j", (answer) => {
    const report = check({ disks: [disk("vda")], answer });
    expect(refusals(report)).toEqual([]);
    expect(said(report)).toContain("no disk of guest web1 is encrypted");
    expect(report).toHaveProperty("command");
  });

  it("leaves a foreign encryption block alone: a warning that names its secret", () => {
    const report = check({
      disks: [disk("vda", 1), disk("vdb", 2)],
      answer: { disks: [there("vda", 1, "same")] },
    });
    expect(contents(report)).toEqual(["vda same", "vdb foreign"]);
    expect(warnings(report)).toEqual(["the Luksmith there leaves the encryption block of disk vdb alone"]);
    expect(said(report)).toContain(uuid(2));
  });

  it("is not asked about media, which libvirt needs there all the same, and empty drives", () => {
    const volume = { kind: "file", path: "/srv/iso/debian 12.iso", format: "raw" } as const;
    const cdrom = disk("sda", undefined, { type: "cdrom", readOnly: true, volume });
    const empty = disk("sdb", undefined, { type: "cdrom", readOnly: true, volume: { kind: "none" } });
    const report = check({ disks: [cdrom, empty] });
    expect(report.disks).toEqual([]);
    expect(report.findings).toContainEqual({
      level: "ok",
      about: "storage",
      what: "must be there too: sda /srv/iso/debian 12.iso",
    });
    const others = [disk("vda", 1, { readOnly: true }), disk("vdb"), empty];
    expect(said(check({ disks: others }))).not.toContain("must be there");
  });
});

describe("a guest that is shut off", () => {
  const guest = { running: false };
  const disks = [disk("vda", 1)];
  const same = { disks: [there("vda", 1, "same")] };

  it("moves its definition only, by no tunnel", () => {
    const report = check({ disks, guest, answer: same, tunnelled: true });
    expect(report.wires).toEqual([]);
    expect(report.command).toBe(`virsh migrate --offline --persistent --undefinesource --tls web1 ${TO}`);
    expect(said(report)).toContain("nothing but the guest's definition is sent");
    expect(said(report)).toContain("luksmith reap");
    expect(said(check({ disks: [disk("vda")], guest }))).not.toContain("luksmith reap");
  });

  it("cannot have its storage copied", () => {
    const copied = { disks: [there("vda", 9, "copied")] };
    const report = check({ disks, guest, answer: copied });
    expect(refusals(report)).toEqual([
      expect.stringContaining("STORAGE_NOT_COPIED: the content of disk vda"),
    ]);
    expect(said(report)).toContain("virsh start web1");
    expect(refusals(check({ disks, guest, answer: same, copyStorage: true }))).toEqual([
      "STORAGE_NOT_COPIED: libvirt copies no storage of guest web1, which is shut off",
    ]);
  });

  it("must not leave its saved memory behind", () => {
    const report = check({ disks, guest: { running: false, saved: true }, answer: same });
    expect(refusals(report)).toEqual([expect.stringContaining("GUEST_RUNNING: guest web1 was saved")]);
  });
});

describe("the command", () => {
  it("is quoted for a shell, and names this host where virsh would not find it", () => {
    const { command } = check({
      to: "qemu+unix:///system?socket=/run/a b",
      guest: { name: "it's web1" },
      here: "qemu+unix:///system?socket=/run/my.sock",
      migrateUri: "unix:///run/m;reboot",
      copyStorage: true,
      disksUri: "unix:///run/n",
    });
    expect(command).toBe(
      "virsh -c 'qemu+unix:///system?socket=/run/my.sock' migrate --live --persistent --undefinesource " +
        "--copy-storage-all --tls --migrateuri 'unix:///run/m;reboot' --disks-uri unix:///run/n " +
        `'it'\\''s web1' 'qemu+unix:///system?socket=/run/a b'`,
    );
  });

  it("has the UUID of a guest whose name looks like something else", () => {
    expect(check({ guest: { name: "--help" } }).command).toContain(
      " 11111111-2222-4333-8444-555555555555 qemu",
    );
  });
});
