import { execa } from "execa";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { secretFile } from "../../src/secret/secret-file.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type GuestDisk, type TestGuest } from "./support/guests.js";
import { hashOf, type ImageFormat, luksUuidOf, makeVolume, MIB } from "./support/volumes.js";

const host = hostForThisFile();

const BASE = 0x41;
const WRITTEN = 0x77;

const first = ({ disks }: TestGuest): GuestDisk => disks[0]!;
const secrets = async () => (await host().libvirt.secretsLeft()).sort();

/** As the guest itself would, by its QEMU, which says nothing of how it went. */
async function writeAsGuest(guest: TestGuest, mib: number): Promise<void> {
  const disk = "/machine/peripheral/virtio-disk0/virtio-backend";
  for (const command of [`write -P ${WRITTEN} ${mib}M 1M`, "flush"]) {
    await host().libvirt.virsh(
      "qemu-monitor-command",
      guest.uuid,
      "--hmp",
      `qemu-io -d ${disk} "${command}"`,
    );
  }
}

/** The byte of which each of the disk's MiB consists, as the guest's QEMU reads it; undefined for any mixture. */
async function readAsGuest(guest: TestGuest): Promise<(number | undefined)[]> {
  const copy = host().newPath("copy");
  const how = ["--format", "raw", "--wait", "--finish", "--transient-job"];
  await host().libvirt.virsh("blockcopy", guest.uuid, "vda", "--dest", copy, ...how);
  const bytes = await readFile(copy);
  await rm(copy);
  return Array.from({ length: bytes.length / MIB }, (_, index) => {
    const mib = bytes.subarray(index * MIB, (index + 1) * MIB);
    return mib.equals(Buffer.alloc(MIB, mib[0])) ? mib[0] : undefined;
  });
}

const SEEN = Array.from({ length: 6 }, () => BASE);
const SEEN_AFTER_WRITING = SEEN.with(1, WRITTEN);

/** It has the base's bytes, and those that it has written. */
async function expectGuestSees(guest: TestGuest): Promise<void> {
  expect(await readAsGuest(guest)).toEqual(SEEN);
  await writeAsGuest(guest, 1);
  expect(await readAsGuest(guest)).toEqual(SEEN_AFTER_WRITING);
}

async function expectNoPlaintext({ path }: GuestDisk): Promise<void> {
  expect((await readFile(path)).includes(Buffer.alloc(64, WRITTEN))).toBe(false);
}

async function plainBase(format: ImageFormat): Promise<string> {
  const path = host().newPath(format);
  await makeVolume(path, format);
  await execa("qemu-io", ["-f", format, "-c", `write -P ${BASE} 0 6M`, path]);
  return path;
}

/** The file is looked at by nobody: an encrypted base could not be opened without its passphrase. */
async function makeOverlay(base: string, format: ImageFormat): Promise<GuestDisk> {
  const path = host().newPath("qcow2");
  await execa("qemu-img", [
    "create",
    "-q",
    "-u",
    "-f",
    "qcow2",
    "-b",
    base,
    "-F",
    format,
    path,
    String(6 * MIB),
  ]);
  return { dev: "vda", path, format: "qcow2" };
}

/** A guest whose disk is encrypted, full of data, and used by no guest from now on. */
async function template(
  format: ImageFormat,
): Promise<Omit<GuestDisk, "dev"> & { readonly secretUuid: string }> {
  const guest = await host().guest("template", [format]);
  await host().must("protect", "template", "--now");
  const { path } = first(guest);
  const secretUuid = (await host().blocks(guest))["vda"] ?? "";
  const { passphrase } = await host().key(secretUuid);
  using owned = passphrase;
  using key = secretFile(owned);
  const file = { driver: "file", filename: path };
  const node =
    format === "raw"
      ? { driver: "luks", "key-secret": "s", file }
      : { driver: "qcow2", encrypt: { format: "luks", "key-secret": "s" }, file };
  const object = ["--object", "secret,id=s,file=/proc/self/fd/3"];
  await execa("qemu-io", [...object, "-c", `write -P ${BASE} 0 6M`, `json:${JSON.stringify(node)}`], {
    stdio: ["ignore", "pipe", "pipe", key.fd as 3],
  });
  return { path, format, secretUuid };
}

/** A protected guest whose new disk lies over the template's. */
async function clone(name: string, base: Omit<GuestDisk, "dev">, metadata?: string): Promise<TestGuest> {
  const disk = { ...(await makeOverlay(base.path, base.format)), base };
  const guest = await host().define({ name, disks: [disk], ...(metadata !== undefined && { metadata }) });
  await host().must("protect", name);
  return guest;
}

describe("a new overlay over a plain base", () => {
  it("is adopted: the guest reads the base and writes encrypted", async () => {
    const base = await plainBase("raw");
    const before = await hashOf(base);
    const disk = { ...(await makeOverlay(base, "raw")), secretUuid: crypto.randomUUID() };
    const guest = await host().define({ name: "web1", disks: [disk], metadata: FLAVOR_ASKS });
    await host().start(guest);
    await expectGuestSees(guest);
    await host().stop(guest);
    expect(await luksUuidOf(disk.path, "qcow2")).toBe(disk.secretUuid);
    await expectNoPlaintext(disk);
    expect(await hashOf(base)).toBe(before);

    await host().start(guest);
    expect(await readAsGuest(guest)).toEqual(SEEN_AFTER_WRITING);
  });

  it.each<[string, ImageFormat, "named" | "unnamed", string[]]>([
    ["which the definition leaves to libvirt to find", "raw", "unnamed", []],
    ["which the definition names", "qcow2", "named", ["--now"]],
  ])("is protected, %s", async (_, format, naming, options) => {
    const base = await plainBase(format);
    const before = await hashOf(base);
    const overlay = await makeOverlay(base, format);
    const disk = naming === "named" ? { ...overlay, base: { path: base, format } } : overlay;
    const guest = await host().define({ name: "web1", disks: [disk] });
    await host().must("protect", "web1", ...options);
    await host().start(guest);
    await expectGuestSees(guest);
    await host().stop(guest);
    await expectNoPlaintext(disk);
    expect(await hashOf(base)).toBe(before);
    expect((await host().keystore().list()).map(({ state }) => state)).toEqual(["active"]);
  });
});

describe.each(["raw", "qcow2"] as const)("a new overlay over an encrypted base of ours (%s)", (format) => {
  it("starts with both passphrases, and writes under its own key", async () => {
    const base = await template(format);
    const before = await hashOf(base.path);
    const guest = await clone("web1", base);
    await host().start(guest);
    const own = (await host().blocks(guest))["vda"] ?? "";
    expect(own).not.toBe(base.secretUuid);
    expect(await secrets()).toEqual([own, base.secretUuid].sort());
    await expectGuestSees(guest);
    await host().stop(guest);
    expect(await secrets()).toEqual([]);
    expect(await luksUuidOf(first(guest).path, "qcow2")).toBe(own);
    await expectNoPlaintext(first(guest));
    expect(await hashOf(base.path)).toBe(before);
  });
});

describe("guests over one encrypted base", () => {
  it("start at once, and the base's passphrase stays until the last one stops", async () => {
    const base = await template("qcow2");
    const guests = [await clone("web1", base), await clone("web2", base), await clone("web3", base)];
    await Promise.all(guests.map((guest) => host().start(guest)));
    const owns = await Promise.all(guests.map(async (guest) => (await host().blocks(guest))["vda"] ?? ""));
    expect(await secrets()).toEqual([...owns, base.secretUuid].sort());

    await Promise.all([host().stop(guests[0]!), host().stop(guests[1]!)]);
    expect(await secrets()).toEqual([owns[2], base.secretUuid].sort());
    await host().start(guests[0]!);
    await expectGuestSees(guests[0]!);
    await Promise.all([host().stop(guests[0]!), host().stop(guests[2]!)]);
    expect(await secrets()).toEqual([]);
  });

  it("get their passphrases again after libvirtd was restarted", async () => {
    const base = await template("raw");
    const guests = [await clone("web1", base), await clone("web2", base)];
    for (const guest of guests) await host().start(guest);
    const before = await secrets();
    expect(before).toHaveLength(3);
    await host().libvirt.restartDaemon();
    await vi.waitUntil(async () => (await secrets()).length === 3, { timeout: 30_000 });
    expect(await secrets()).toEqual(before);
    await host().stop(guests[0]!);
    expect(await secrets()).toHaveLength(2);
  });

  it("resume from saved memory", async () => {
    const guest = await clone("web1", await template("qcow2"));
    await host().start(guest);
    await writeAsGuest(guest, 1);
    await host().libvirt.virsh("managedsave", guest.uuid);
    expect(await secrets()).toEqual([]);
    await host().start(guest);
    expect(await readAsGuest(guest)).toEqual(SEEN_AFTER_WRITING);
  });

  it.each<[why: string, code: string, metadata: string | undefined]>([
    ["nobody has", "KEY_NOT_FOUND", FLAVOR_ASKS],
    ["is damaged", "KEY_CORRUPT", undefined],
  ])("do not start with a base whose key %s", async (_, code, metadata) => {
    const base = await template("raw");
    const guest = await clone("web1", base, metadata);
    const record = join(host().keystoreDirectory, "records", `${base.secretUuid}.json`);
    await rename(record, `${record}.away`);
    if (code === "KEY_CORRUPT") await execa("sh", ["-c", 'umask 077; echo "{" >"$1"', "sh", record]);
    const before = await hashOf(first(guest).path);
    expect((await host().refusedStart(guest)).code).toBe(code);
    expect(await secrets()).toEqual([]);
    expect(await hashOf(first(guest).path)).toBe(before);
    await rename(`${record}.away`, record);
    await host().start(guest);
    await expectGuestSees(guest);
  });
});

it("a plain overlay over an encrypted base is refused, until the hint's command has protected it", async () => {
  const base = await template("qcow2");
  const disk = { ...(await makeOverlay(base.path, "qcow2")), base };
  const guest = await host().define({ name: "web1", disks: [disk] });
  const { code, hint } = await host().refusedStart(guest);
  expect(code).toBe("OVERLAY_NOT_ENCRYPTED");
  const [command = ""] = /luksmith protect [^;]*/.exec(hint) ?? [];
  expect(await host().paste(command)).toMatchObject({ exitCode: 0, stderr: "" });
  await host().start(guest);
  await expectGuestSees(guest);
});

it.each(["raw", "qcow2"] as const)(
  "an encrypted base (%s) that the definition does not name is not opened by libvirt, and no passphrase stays",
  async (format) => {
    const base = await template(format);
    const guest = await host().define({ name: "web1", disks: [await makeOverlay(base.path, format)] });
    await host().must("protect", "web1");
    await expect(host().start(guest)).rejects.toThrow("Failed to start domain");
    expect(await secrets()).toEqual([]);
  },
);
