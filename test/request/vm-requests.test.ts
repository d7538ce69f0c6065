import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { Guest } from "../../src/host/host-adapter.js";
import { refuseLostBlock, refuseUnannotated } from "../../src/plan/refusals.js";
import { resolveRequests } from "../../src/request/resolve.js";
import { parseSettings } from "../../src/settings/load.js";
import { guestOf, vmFixture } from "../fixtures/proxmox/guests.js";
import { refusalOf } from "../guest-config/refusal.js";

const NO_RULES = parseSettings('{"version": 1}', "the test");

function settingsWith(rule: object): typeof NO_RULES {
  const rules = [{ name: "r", encrypt: true, ...rule }];
  return parseSettings(JSON.stringify({ version: 1, rules }), "the test");
}

/** The disks that must be encrypted, with who asks. */
function requested(guest: Guest, settings = NO_RULES): Record<string, readonly string[]> {
  const requests = [...resolveRequests(guest, settings)];
  return Object.fromEntries(requests.map(([dev, { askedBy }]) => [dev, askedBy]));
}

describe("who asks for encryption on Proxmox VE", () => {
  it("is the storage, for its volumes", () => {
    expect(requested(guestOf("q35-scsi-encrypted"))).toEqual({
      ...{ scsi0: ["storage enc-dir"], scsi1: ["storage enc-dir"] },
    });
    expect(requested(guestOf("cloud-init"))).toMatchObject({ ide2: ["storage enc-zfs"] });
    expect(requested(guestOf("i440fx-ide"))).toEqual({});
  });

  it("is the tag, for all disks that hold data, in any case", () => {
    expect(requested(guestOf("ovmf-mixed"))).toEqual({
      virtio0: ["tag encrypt", "storage enc-rbd"],
      ...{ efidisk0: ["tag encrypt"], tpmstate0: ["tag encrypt"] },
    });
    expect(Object.keys(requested(guestOf("cloud-init-plain")))).toEqual(["ide2", "ide3", "scsi0"]);
  });

  it.each([
    ["a pool", { pool: "lab" }, "unused-and-pending", ["scsi0", "scsi1"]],
    ["another pool", { pool: "other" }, "unused-and-pending", ["scsi0"]],
    ["a pool around the guest's", { pool: "finance" }, "ovmf-mixed", ["virtio0", "efidisk0", "tpmstate0"]],
    ["a pool with a similar name", { pool: "financ" }, "passthrough", []],
    ["a tag", { tag: "confidential", storage: "/dev/disk/*" }, "passthrough", ["scsi0", "sata1"]],
    ["a name", { guest: "wait*" }, "unused-and-pending", ["scsi0", "scsi1"]],
    ["a VMID where there is no name", { guest: "116" }, "no-boot", ["scsi0", "virtio0"]],
    ["volume IDs of a storage", { storage: "local-lvm:*" }, "unused-and-pending", ["scsi0", "scsi1"]],
    ["volume IDs of another storage", { storage: "local:*" }, "unused-and-pending", ["scsi0"]],
    ["any volume", { storage: "*" }, "i440fx-ide", ["ide0"]],
  ])("is a rule that names %s", (_, rule, fixture, disks) => {
    const guest = guestOf(fixture, { ...(fixture === "ovmf-mixed" && { config: untagged(fixture) }) });
    expect(Object.keys(requested(guest, settingsWith(rule)))).toEqual(disks);
  });

  it("may not disagree: a rule against encryption does not open an encrypted storage", () => {
    const error = refusalOf(() => requested(guestOf("template"), settingsWith({ encrypt: false })));
    expect(error.code).toBe("REQUEST_CONFLICT");
  });

  it("names no profile by the storage, whose volumes have theirs already", () => {
    expect(resolveRequests(guestOf("template"), NO_RULES).get("scsi0")?.profile).toBe("default");
  });
});

function untagged(fixture: string): Record<string, string> {
  return { ...vmFixture(fixture).config.options, tags: "" };
}

describe("a plain disk that must be encrypted", () => {
  function hint(fixture: string, node?: string): string | undefined {
    const guest = guestOf(fixture, node === undefined ? {} : { node });
    const { disks } = guest;
    // as the headers tell it
    const mapping = Object.entries(disks.mapping).map(([dev, disk]) => [
      dev,
      disk.encrypted ? { ...disk, encryption_secret_uuid: "0d1e2f30-4152-4637-8495-a6b7c8d9eafb" } : disk,
    ]);
    const identified = {
      ...guest,
      disks: { ...disks, mapping: Object.fromEntries(mapping) as typeof disks.mapping },
    };
    const settings = settingsWith({ storage: "*" });
    const error = refusalOf(() => refuseUnannotated(identified, resolveRequests(identified, settings)));
    expect(error.code).toBe("DISK_NOT_ENCRYPTED");
    return error.hint;
  }

  it("is moved to encrypted storage that this node has, and nothing of it stays behind", () => {
    expect(hint("i440fx-ide", "pve1")).toBe("qm disk move 100 ide0 enc-dir --delete 1");
    expect(hint("i440fx-ide", "pve9")).toBe("qm disk move 100 ide0 enc-thin --delete 1");
    expect(hint("ovmf-mixed")).toBe(
      "qm disk move 103 efidisk0 enc-dir --delete 1 && qm disk move 103 tpmstate0 enc-dir --delete 1",
    );
  });

  it("is copied there, if it is a device of the host", () => {
    const path = "/dev/disk/by-id/scsi-35000c500a1b2c3d4";
    expect(hint("passthrough")).toContain(`qm set 111 --scsi0 enc-dir:0,import-from=${path}`);
  });

  it("is told how to get encrypted storage where there is none", () => {
    const storages = new Map();
    const guest = guestOf("i440fx-ide", { storages });
    const requests = resolveRequests(guest, settingsWith({}));
    expect(refusalOf(() => refuseUnannotated(guest, requests)).hint).toBe(
      "set up encrypted storage: pvesm add luksmith STORAGE --base-path DIRECTORY; then: qm disk move 100 ide0 STORAGE --delete 1",
    );
  });

  it("whose device has a hostile name is one word in the command", () => {
    const config = { scsi0: "/dev/it's $(touch pwned) `x`" };
    const guest = guestOf("template", { config });
    const error = refusalOf(() => refuseUnannotated(guest, resolveRequests(guest, settingsWith({}))));
    const words = execFileSync("sh", ["-c", `qm() { printf '%s\\0' "$@"; }\n${error.hint}`], {
      encoding: "utf8",
    });
    expect(words.split("\0").at(3)).toBe("enc-dir:0,import-from=/dev/it's $(touch pwned) `x`");
  });
});

it("a device of the host that is an encrypted volume of ours is given to the guest by its storage", () => {
  const guest = guestOf("passthrough");
  const disk = guest.disks.mapping["scsi2"]!;
  const uuid = "0d1e2f30-4152-4637-8495-a6b7c8d9eafb" as never;
  const luks = { volume: disk.volume, uuid, key: { kind: "found" as const } as never };
  const error = refusalOf(() => refuseLostBlock(guest, { kind: "plain", disk, luks, overlaid: undefined }));
  expect(error).toMatchObject({
    code: "ENCRYPTION_BLOCK_LOST",
    hint: "give the guest the volume by its encrypted storage: qm set 111 --scsi2 STORAGE:vm-111-disk-0",
  });
});
