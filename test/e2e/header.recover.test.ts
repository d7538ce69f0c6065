import { randomUUID } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { hostForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { guestBytes, type ImageFormat, luksUuidOf, MIB, writeAt } from "./support/volumes.js";
import { readQcow2Header } from "../../src/storage/qcow2/qcow2-header.js";
import { qemuIo } from "../storage/qemu.js";

const host = hostForThisFile();
const HEADER = 2 * MIB;
const DATA = Buffer.alloc(512, 0x5e);

/** A guest of two disks that was started once, so that both are formatted, and has written to them. */
async function used(): Promise<TestGuest> {
  const guest = await host().guest("web1", ["raw", "qcow2"]);
  await host().must("protect", "web1", "--now");
  for (const { dev, path, format } of guest.disks) {
    const { passphrase } = await host().key((await host().blocks(guest))[dev]);
    const file = { driver: "file", filename: path };
    const encrypt = { format: "luks", "key-secret": "key" };
    const node =
      format === "raw" ? { driver: "luks", "key-secret": "key", file } : { driver: "qcow2", encrypt, file };
    qemuIo(node, ["write -P 0x5e 1M 64k"], passphrase);
    passphrase.dispose();
  }
  return guest;
}

/** Where the LUKS container begins in the file. */
async function containerIn(path: string, format: ImageFormat): Promise<number> {
  if (format === "raw") return 0;
  await using file = await open(path, "r");
  const start = Buffer.alloc(65_536);
  await file.read(start, 0, start.length, 0);
  const image = readQcow2Header(start);
  if (image.kind !== "qcow2" || image.header.encryption.kind !== "luks")
    throw new Error("it is not encrypted");
  return image.header.encryption.offset;
}

async function wipe(guest: TestGuest): Promise<void> {
  for (const { path, format } of guest.disks)
    await writeAt(path, await containerIn(path, format), Buffer.alloc(HEADER));
}

interface Listed {
  readonly volumes: {
    disk: string;
    key: string;
    copies: { takenAt: string; reason: string; path: string }[];
  }[];
}

describe("copies of headers", () => {
  it("are kept of every disk that is formatted, and verified", async () => {
    const guest = await used();
    const { volumes } = (await host().json("header", "list", "web1")) as Listed;
    const blocks = await host().blocks(guest);
    expect(volumes.map(({ disk, key }) => [disk, key])).toEqual(Object.entries(blocks));
    expect(volumes.flatMap(({ copies }) => copies.map(({ reason }) => reason))).toEqual(["made", "made"]);
    expect(await host().must("header", "verify", "web1")).toMatch(
      /vda of web1.*: as in its copy .*keyslot 0/,
    );
    expect(await host().must("header", "show", "web1", "vdb")).toContain("keyslots in use:    0");
    const shown = await host().json("header", "show", guest.disks[0]!.path);
    expect(shown).toMatchObject({ volumes: [{ key: blocks["vda"], version: 1, opens: 0, keyslots: [0] }] });
    // the same header again is no new copy
    await host().must("header", "backup", "web1");
    expect(await host().json("header", "list", "web1")).toEqual({ volumes });
  });

  it("bring back disks whose headers were wiped, raw and qcow2, and the guest starts with its data", async () => {
    const guest = await used();
    const blocks = await host().blocks(guest);
    await wipe(guest);
    expect((await host().refusedStart(guest)).code).toBeDefined();
    const { exitCode } = await host().luksmith("header", "verify", "web1");
    expect(exitCode).toBe(5);

    const seen = await host().must("header", "restore", "web1", "vda", "--dry-run");
    expect(seen).toContain("would write the copy of");
    for (const { dev } of guest.disks)
      expect(await host().must("header", "restore", "web1", dev, "--yes")).toContain(
        "was restored and opens",
      );
    await host().start(guest);
    await host().stop(guest);
    for (const { dev, path, format } of guest.disks) {
      expect(await luksUuidOf(path, format)).toBe(blocks[dev]);
      const { passphrase } = await host().key(blocks[dev]);
      expect((await guestBytes(path, format, passphrase, MIB, 512))?.equals(DATA)).toBe(true);
      passphrase.dispose();
    }
    await host().must("header", "verify", "web1");
  });

  it("bring back a volume by its path and by its key when no guest has it any more", async () => {
    const guest = await used();
    const blocks = await host().blocks(guest);
    await wipe(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    const [raw, qcow2] = guest.disks;
    await host().must("header", "restore", raw!.path, "--format", "raw", "--yes");
    await host().must("header", "restore", blocks["vdb"]!, "--yes");
    expect(await luksUuidOf(raw!.path, "raw")).toBe(blocks["vda"]);
    expect(await luksUuidOf(qcow2!.path, "qcow2")).toBe(blocks["vdb"]);
  });

  it("are not written under a running guest, nor without being asked", async () => {
    const guest = await used();
    const asked = await host().luksmith("header", "restore", "web1", "vda");
    expect(asked.exitCode).toBe(2);
    await host().start(guest);
    const running = await host().luksmith("header", "restore", "web1", "vda", "--yes");
    expect(running.exitCode).toBe(3);
    expect(running.stderr).toContain("runs with it as vda");
    const byPath = await host().luksmith("header", "restore", guest.disks[0]!.path, "--yes");
    expect(byPath.exitCode).toBe(3);
  });

  it("are not written over the volume of a guest that has it without the key", async () => {
    const guest = await used();
    const [raw] = guest.disks;
    const blocks = await host().blocks(guest);
    await host().libvirt.virsh("undefine", guest.uuid);
    await wipe(guest);
    await host().define({
      name: "web2",
      uuid: randomUUID(),
      disks: [{ dev: "vda", path: raw!.path, format: "raw" }],
    });
    const before = await readFile(raw!.path);
    const refused = await host().luksmith("header", "restore", blocks["vda"]!, "--format", "raw", "--yes");
    expect(refused.exitCode).toBe(3);
    expect(refused.stderr).toContain("guest web2 has it as vda without key");
    expect((await readFile(raw!.path)).equals(before)).toBe(true);
  });

  it("are no condition of a guest's start: a directory that cannot be written is a warning", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().settings({ version: 1, headers: { directory: "/proc/luksmith-headers" } });
    await host().must("protect", "web1");
    await host().start(guest);
    const warnings = (await host().log()).filter(({ message }) =>
      message.includes("no copy of the LUKS header"),
    );
    expect(warnings).toHaveLength(1);
    const { exitCode } = await host().luksmith("header", "backup", "web1");
    expect(exitCode).toBe(1);
  });
});
