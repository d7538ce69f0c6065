import { expect, it } from "vitest";
import { CATALOGUE, EXIT } from "../../src/error/catalogue.js";
import type { MigrateCheckOutput } from "../../src/generated/migrate-check.js";
import type { ExecResult } from "../lab/libvirt-host.js";
import { twoHostsForThisFile } from "./support/each-test.js";
import type { TestGuest } from "./support/guests.js";
import { disksApart, emptyVolumes, settled } from "./support/storage-copy.js";

const hosts = twoHostsForThisFile();

it("says that a guest on shared storage can migrate, and the command that it prints does it", async () => {
  const { a, b } = hosts();
  const guest = await protectedGuest();
  await hosts().shareKeys();
  await a.start(guest);
  const { vda } = await a.blocks(guest);

  const output = await answer(guest);

  expect(output).toMatchObject({
    able: true,
    disks: [{ device: "vda", content: "same", key: vda, openedBy: "native" }],
    findings: [
      { level: "ok", about: "luksmith" },
      { level: "warning", about: "memory" },
    ],
  });
  expect(reasons(await answer(guest, "--copy-storage"))).toEqual(["COPY_SHARES_KEY"]);
  await expectOnlyOnA(guest);
  expect(await paste(output)).toMatchObject({ exitCode: 0, stderr: "" });
  expect([await a.guests(), await b.guests()]).toEqual([
    { running: [], all: [] },
    { running: [guest.uuid], all: [guest.uuid] },
  ]);
});

it("passes the target's refusal on in its own words, with its exit code", async () => {
  const { a, b } = hosts();
  const guest = await protectedGuest();
  await a.start(guest);

  const { exitCode, stdout } = await check(guest);

  expect(exitCode).toBe(CATALOGUE.KEY_NOT_FOUND.exit);
  expect(stdout).toMatch(/^web1 cannot migrate to qemu\+tcp:/);
  expect(stdout).toMatch(
    /^refused by the target: cannot take over guest web1: disk vda needs key .*\ncause: .*\nhint: .*$/m,
  );
  await expectOnlyOnA(guest);
  expect((await hosts().migrate(guest, a, b)).exitCode).toBe(1);
});

it("knows whether storage must be copied, and the command that it prints copies it", async () => {
  const { a, b } = hosts();
  const guest = await protectedGuest("apart");
  await a.start(guest);
  await emptyVolumes(b, guest.disks);

  const without = await answer(guest);
  expect(without).toMatchObject({ able: false, disks: [{ content: "copied" }] });
  expect(reasons(without)).toEqual(["STORAGE_NOT_COPIED"]);
  const output = await answer(guest, "--copy-storage");
  expect(output).toMatchObject({ able: true, disks: [{ content: "copied" }] });
  expect(output.wires.map(({ carries }) => carries)).toEqual(["memory", "storage"]);
  await expectOnlyOnA(guest);

  expect(await paste(output)).toMatchObject({ exitCode: 0, stderr: "" });
  expect((await b.guests()).running).toEqual([guest.uuid]);
  await settled(b, guest);
});

it("moves the definition of a guest that is shut off", async () => {
  const { a, b } = hosts();
  const guest = await protectedGuest();
  await hosts().shareKeys();
  const output = await answer(guest);
  expect(output).toMatchObject({ able: true, wires: [] });
  expect(await paste(output)).toMatchObject({ exitCode: 0, stderr: "" });
  expect([await a.guests(), await b.guests()]).toEqual([
    { running: [], all: [] },
    { running: [], all: [guest.uuid] },
  ]);
  // as the finding says: libvirt does not tell anybody that such a migration has ended
  const { vda } = await b.blocks(guest);
  expect(await b.libvirt.secretsLeft()).toEqual([vda]);
  await b.must("reap");
  expect(await b.libvirt.secretsLeft()).toEqual([]);
  await b.start(guest);
});

it("knows that a guest of this name, or this guest itself, is in the way at the target", async () => {
  const { a, b } = hosts();
  // without encryption, so that the target's hook makes nothing ready for it before libvirt refuses
  const guest = await a.guest("web1", ["raw"]);
  const other = await b.define({ name: "web1", disks: [] });
  const exit = CATALOGUE.GUEST_EXISTS.exit;
  expect(await check(guest)).toMatchObject({
    exitCode: exit,
    stdout: "",
    stderr: expect.stringContaining(`it has UUID ${other.uuid}, and this one ${guest.uuid}`) as string,
  });
  expect(await refusalOfLibvirt(guest)).toMatch(/already exists with uuid/);
  await b.libvirt.virsh("undefine", other.uuid);

  await b.define({ ...guest, name: "web2" });
  expect(await check(guest)).toMatchObject({
    exitCode: exit,
    stderr: expect.stringContaining("has its UUID and another name, web2") as string,
  });
  expect(await refusalOfLibvirt(guest)).toMatch(/already defined with uuid/);
  await b.libvirt.virsh("undefine", guest.uuid);

  // one that is shut off there makes room
  await b.define(guest);
  expect((await check(guest)).exitCode).toBe(EXIT.ok);
  await b.libvirt.virsh("undefine", guest.uuid);

  await a.start(guest);
  const itself = await a.luksmith("migrate-check", guest.name, "--to", hosts().uri(a));
  expect([itself.exitCode, itself.stderr]).toEqual([exit, expect.stringContaining("runs there")]);
  await expectOnlyOnA(guest);
});

it("asks a target without Luksmith in vain, and leaves nothing there", async () => {
  const { a, b } = hosts();
  const guest = await protectedGuest();
  const plain = await a.guest("plain1", ["raw"]);
  await b.must("uninstall", "--host", "libvirt");
  try {
    const output = await answer(guest);
    expect(reasons(output)).toEqual(["HOOK_NOT_INSTALLED"]);
    expect((await check(guest)).exitCode).toBe(CATALOGUE.HOOK_NOT_INSTALLED.exit);
    expect(await answer(plain)).toMatchObject({ able: true, disks: [{ content: "plain" }] });
    expect((await b.guests()).all).toEqual([]);
    expect((await a.guests()).all.sort()).toEqual([guest.uuid, plain.uuid].sort());
  } finally {
    await b.install();
  }
});

it("says why a target cannot be asked", async () => {
  const guest = await protectedGuest();
  await hosts().cutNetwork();
  expect(await check(guest)).toMatchObject({
    exitCode: EXIT.unavailable,
    stdout: "",
    stderr: expect.stringContaining(`cannot reach libvirt at ${hosts().uri(hosts().b)}`) as string,
  });
  await hosts().mendNetwork();
  await hosts().b.settings("{");
  expect(await check(guest)).toMatchObject({
    exitCode: CATALOGUE.MIGRATION_ANSWER_INVALID.exit,
    stderr: expect.stringContaining("settings") as string,
  });
  await expectOnlyOnA(guest);
});

/** A guest on host a, on storage that both hosts have or each for itself. */
async function protectedGuest(storage: "shared" | "apart" = "shared"): Promise<TestGuest> {
  const { a } = hosts();
  const guest =
    storage === "shared"
      ? await a.guest("web1", ["raw"])
      : await a.define({ name: "web1", disks: await disksApart(hosts(), "web1", ["raw"]) });
  await a.must("protect", "web1", "--now");
  return guest;
}

function check({ name }: TestGuest, ...options: string[]): Promise<ExecResult> {
  const { a, b } = hosts();
  return a.luksmith("migrate-check", name, "--to", hosts().uri(b), ...options);
}

async function answer(guest: TestGuest, ...options: string[]): Promise<MigrateCheckOutput> {
  const { stdout, exitCode } = await check(guest, "--json", ...options);
  const output = JSON.parse(stdout) as MigrateCheckOutput;
  expect(exitCode === 0).toBe(output.able);
  return output;
}

async function refusalOfLibvirt({ uuid }: TestGuest): Promise<string> {
  const { a, b } = hosts();
  const migrate = ["migrate", "--offline", "--persistent", uuid, hosts().uri(b)];
  const { exitCode, stderr } = await a.libvirt.exec(["virsh", "-c", "qemu:///system", ...migrate]);
  expect(exitCode).toBe(1);
  return stderr;
}

const reasons = ({ findings }: MigrateCheckOutput) =>
  findings.flatMap(({ level, code }) => (level === "refused" ? [code] : []));

/** As an administrator would; libvirt takes a directory of the test for no file system that hosts share. */
function paste({ command = "" }: MigrateCheckOutput): Promise<ExecResult> {
  return hosts().a.paste(command.replace(" migrate ", " migrate --unsafe "));
}

async function expectOnlyOnA({ uuid }: TestGuest): Promise<void> {
  const { a, b } = hosts();
  expect((await a.guests()).all).toEqual([uuid]);
  expect((await b.guests()).all).toEqual([]);
  expect(await b.libvirt.secretsLeft()).toEqual([]);
}
