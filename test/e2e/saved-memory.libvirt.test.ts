import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StatusOutput } from "../../src/generated/status.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type TestGuest } from "./support/guests.js";

const host = hostForThisFile();

/** A guest with an encrypted disk that runs, on a host with this policy. */
async function running(
  savedMemory?: "allow" | "warn" | "refuse",
  name = "web1",
  format: "raw" | "qcow2" = "raw",
): Promise<TestGuest> {
  await host().settings({ version: 1, ...(savedMemory && { savedMemory }) });
  const guest = await host().guest(name, [format], { metadata: FLAVOR_ASKS });
  await host().must("protect", name);
  await host().start(guest);
  return guest;
}

const fileOf = ({ name }: TestGuest) => `/var/lib/libvirt/qemu/save/${name}.save`;

function virsh(...args: string[]) {
  return host().libvirt.exec(["virsh", "-c", "qemu:///system", ...args]);
}

/** Level and message of what was logged beyond the events themselves. */
async function remarks(): Promise<string[]> {
  const log = await host().log();
  return log.filter(({ level }) => level !== "info").map(({ level, message }) => `${level}: ${message}`);
}

async function savedMemoryOf(name: string) {
  const { guests } = (await host().json("status", name)) as StatusOutput;
  const [guest] = guests;
  return {
    problem: guest?.problem?.code,
    place: guest?.dataPlaces.find(({ kind }) => kind === "saved-memory"),
  };
}

describe("memory that libvirt saved", () => {
  it("is warned about, and resumed, without a setting", async () => {
    const guest = await running();
    expect((await savedMemoryOf("web1")).place).toMatchObject({ protection: "possible" });
    await host().libvirt.virsh("managedsave", guest.uuid);
    expect(await remarks()).toEqual([`warn: the guest's memory was saved in plaintext to ${fileOf(guest)}`]);
    expect(await savedMemoryOf("web1")).toMatchObject({
      problem: undefined,
      place: { protection: "plaintext", where: fileOf(guest) },
    });
    expect(await host().must("status")).toContain(
      "web1 has data in plaintext besides its disks: saved memory (luksmith status web1)",
    );
    await host().start(guest);
    expect((await remarks()).slice(1)).toEqual([
      `warn: the guest resumes from memory that lay in plaintext in ${fileOf(guest)}`,
    ]);
    expect((await savedMemoryOf("web1")).place).toMatchObject({ protection: "possible" });
  });

  it("is not spoken about where it is allowed", async () => {
    const guest = await running("allow");
    await host().libvirt.virsh("managedsave", guest.uuid);
    await host().start(guest);
    expect(await remarks()).toEqual([]);
  });

  it("is not resumed where it is refused, stays where it is, and the hint discards it", async () => {
    const guest = await running("refuse");
    await host().libvirt.virsh("managedsave", guest.uuid);
    expect(await remarks()).toEqual([
      `error: the guest's memory was saved in plaintext to ${fileOf(guest)}, and will not be resumed`,
    ]);
    expect((await savedMemoryOf("web1")).problem).toBe("SAVED_MEMORY_REFUSED");
    const plan = await host().luksmith("plan", "pre-start", "web1");
    expect(plan.stderr).toContain("its memory was saved in plaintext, and the settings refuse that");
    const { code, hint } = await host().refusedStart(guest);
    expect(code).toBe("SAVED_MEMORY_REFUSED");
    expect(existsSync(host().inside(fileOf(guest)))).toBe(true);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    const command = /virsh managedsave-remove [0-9a-f-]{36}/.exec(hint)?.[0] ?? "";
    expect((await host().paste(command)).exitCode).toBe(0);
    expect(existsSync(host().inside(fileOf(guest)))).toBe(false);
    await host().start(guest);
    expect(await host().isRunning(guest)).toBe(true);
  });

  it("is left behind by a start that boots anew, whatever the settings say of resuming", async () => {
    const guest = await running("refuse");
    await host().libvirt.virsh("managedsave", guest.uuid);
    await host().libvirt.virsh("start", "--force-boot", guest.uuid);
    expect(await host().isRunning(guest)).toBe(true);
    expect(existsSync(host().inside(fileOf(guest)))).toBe(false);
  });

  it("of a guest without encrypted disks is nobody's business", async () => {
    await host().settings({ version: 1, savedMemory: "refuse" });
    const guest = await host().guest("plain1", ["raw"]);
    await host().start(guest);
    await host().libvirt.virsh("managedsave", guest.uuid);
    expect((await savedMemoryOf("plain1")).problem).toBeUndefined();
    await host().start(guest);
    expect(await remarks()).toEqual([]);
  });

  it("is refused under a hostile name too, with a command that can be pasted", async () => {
    const name = `we"b' $(x) --all`;
    const guest = await running("refuse", name);
    await host().libvirt.virsh("managedsave", guest.uuid);
    const { hint } = await host().refusedStart(guest);
    expect((await host().paste(hint.slice(hint.indexOf("virsh"), hint.indexOf(";")))).exitCode).toBe(0);
    await host().start(guest);
  });
});

describe("memory that a person saved to a file", () => {
  it("is refused, stays there, and resumes once it is allowed", async () => {
    const guest = await running("refuse");
    const file = join(host().images, "web1.memory");
    await host().libvirt.virsh("save", guest.uuid, file);
    // libvirt tells no hook where
    expect(await remarks()).toEqual([]);
    const refused = await virsh("restore", file);
    expect(refused).toMatchObject({ exitCode: 1 });
    expect(refused.stderr).toMatch(/cannot resume guest web1: .*\ncause: .*virsh save.*\nhint: /);
    expect(existsSync(host().inside(file))).toBe(true);
    expect(await host().libvirt.secretsLeft()).toEqual([]);
    await host().settings({ version: 1, savedMemory: "warn" });
    expect(await virsh("restore", file)).toMatchObject({ exitCode: 0 });
    expect(await host().isRunning(guest)).toBe(true);
    expect((await remarks()).at(-1)).toMatch(/^warn: the guest resumes from memory .*virsh save/);
  });
});

it("doctor says that memory is on a disk, as loud as the setting is", async () => {
  const guest = await running("allow");
  await host().libvirt.virsh("managedsave", guest.uuid);
  const detail = "the memory of web1 is on a disk in plaintext";
  for (const [savedMemory, result] of [
    ["warn", "warning"],
    ["refuse", "failed"],
    ["allow", "ok"],
  ]) {
    await host().settings({ version: 1, savedMemory });
    expect(await doctor()).toMatchObject([{ result: "ok" }, { result, detail }]);
  }
});

it("a plain overlay over an encrypted disk hides the memory from nobody", async () => {
  const guest = await running("refuse", "web1", "qcow2");
  const overlay = `vda,snapshot=external,file=${join(host().images, "o.qcow2")}`;
  const how = ["--disk-only", "--atomic", "--no-metadata", "--diskspec", overlay];
  await host().libvirt.virsh("snapshot-create-as", guest.uuid, "s1", ...how);
  await host().libvirt.virsh("managedsave", guest.uuid);
  expect((await savedMemoryOf("web1")).problem).toBe("SAVED_MEMORY_REFUSED");
  expect(await host().must("status")).toContain("web1 has data in plaintext besides its disks: saved memory");
  expect((await doctor())[1]).toMatchObject({ result: "failed" });
});

async function doctor(): Promise<object[]> {
  const { stdout } = await host().luksmith("doctor", "--json");
  const { checks } = JSON.parse(stdout) as { checks: { name: string }[] };
  return checks.filter(({ name }) => name === "saved memory");
}
