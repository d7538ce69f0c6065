import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseVmConfig, renderVmOptions } from "../../../src/guest-config/proxmox/vm-config.js";
import { VMS, vmFixture } from "../../fixtures/proxmox/guests.js";

describe("a VM's configuration file", () => {
  it("has its options, pending changes, snapshots and special sections apart", () => {
    const { options, pending, snapshots, special } = vmFixture("snapshots").config;
    expect(options).toMatchObject({ name: "snapped", description: "Before the upgrade: ask Jörg" });
    expect(pending).toEqual({ cores: "2" });
    expect([...snapshots.keys()]).toEqual(["before-upgrade", "after-upgrade"]);
    expect(snapshots.get("before-upgrade")).toMatchObject({
      description: "all was well",
      vmstate: "local-lvm:vm-107-state-before-upgrade",
    });
    expect(special.size).toBe(0);
    expect(vmFixture("cloud-init").config.special.get("cloudinit")).toEqual({
      ...{ added: "ciuser", ipconfig0: "ip=10.0.0.5/24,gw=10.0.0.1", name: "cloudy" },
    });
    expect(vmFixture("unused-and-pending").config.pending).toMatchObject({ delete: "scsi1,!net0" });
  });

  it("has the digest of its bytes, which qm compares", () => {
    for (const { file, config } of VMS)
      expect(config.digest).toBe(createHash("sha1").update(file).digest("hex"));
  });

  it("keeps the description's empty lines and control characters, in Unicode", () => {
    expect(vmFixture("unicode").config.options["description"]).toBe("Grüße aus Köln 🔒\n\n100% sicher: ja");
    const { description } = vmFixture("hostile-description").config.options;
    expect(description).toContain("\n[PENDING]\n[snap]\n-- --digest x");
    expect(description).toContain("%00".replace("%00", "\0"));
  });

  it("passes over what Proxmox VE passes over, and takes no name for more than a name", () => {
    const { options, pending, snapshots, special } = vmFixture("odd-lines").config;
    expect(options).toMatchObject({
      ...{ memory: "512", name: "odd", ide2: "local:iso/a.iso,media=cdrom" },
      description: "old style: one lineand a comment",
    });
    for (const name of ["cores", "sockets", "Name", "toString", "snapstate"])
      expect(Object.hasOwn(options, name)).toBe(false);
    // the second section of one name counts
    expect(pending).toEqual({ cores: "2" });
    expect([...snapshots]).toEqual([["constructor", { memory: "3" }]]);
    expect([...special.keys()]).toEqual(["cloudinit"]);
  });

  it("takes bytes that are no UTF-8 without a fall", () => {
    const file = Buffer.concat([Buffer.from("#%FF%C3\nname: a"), Buffer.from([0xff, 0x0a])]);
    expect(parseVmConfig(file).options).toEqual({ description: "\ufffd\ufffd", name: "a\ufffd" });
  });
});

it("options come back as they were rendered, whatever is in the description", () => {
  const text = fc
    .array(
      fc.oneof(
        fc.string({ unit: "binary", maxLength: 8 }),
        fc.constantFrom("[x]", "#", "%41", "\r", "scsi0: a", " "),
      ),
      { maxLength: 12 },
    )
    .map((lines) => lines.join("\n").replace(/\s+$/u, ""))
    .filter((description) => description !== "");
  fc.assert(
    fc.property(text, (description) => {
      const options = { description, name: "a", scsi0: "enc:vm-100-disk-0" };
      expect(parseVmConfig(renderVmOptions(options)).options).toEqual(options);
    }),
    { numRuns: 60 },
  );
});
