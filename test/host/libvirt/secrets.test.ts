import { fstatSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { LibvirtSecrets } from "../../../src/host/libvirt/secrets.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import type { HostSecret } from "../../../src/host/host-adapter.js";
import { type KeyUuid, newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { VolumeLocks } from "../../../src/storage/volume-lock.js";
import { RecordingCommandRunner } from "../../fake/recording-command-runner.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { RecordingRunner } from "./recording-runner.js";

const guest = { id: "5afe9aab-0794-45bc-8958-b5600a7a36a0", name: "web 1'; destroy" };
const [a, b, c] = [newKeyUuid(), newKeyUuid(), newKeyUuid()];
const made: Secret[] = [];
const lockRunner = new RecordingCommandRunner();

afterEach(() => {
  for (const secret of made.splice(0)) secret.dispose();
  lockRunner.commands.length = 0;
});

function secretOf(uuid: KeyUuid, disk: string): HostSecret {
  const passphrase = Secret.own(Buffer.from(`passphrase of ${disk}`));
  made.push(passphrase);
  return { uuid, disk, passphrase };
}

function ours(uuid: KeyUuid, disk: string, guestId = guest.id): string {
  return ` ${uuid}   volume luksmith:${guestId}:${disk}:${uuid}\n`;
}

function secretsOn(...answers: ConstructorParameters<typeof RecordingRunner>) {
  const runner = new RecordingRunner(...answers);
  const locks = new VolumeLocks(lockRunner, join(temporaryDirectory(), "lock"));
  return { runner, secrets: new LibvirtSecrets(new Virsh("qemu:///system", runner), locks) };
}

describe("providing", () => {
  it("takes two processes for any number of secrets", async () => {
    const { runner, secrets } = secretsOn({ stdout: ours(a, "vda") + ours(b, "vdb") }, {});
    await secrets.provide(guest, [secretOf(a, "vda"), secretOf(b, "vdb")]);
    expect(runner.scripts).toEqual([
      "secret-define /proc/self/fd/3; secret-define /proc/self/fd/4; secret-list",
      `secret-set-value ${a} --file /proc/self/fd/3 --plain; secret-set-value ${b} --file /proc/self/fd/4 --plain`,
    ]);
    expect(runner.commands[0]?.files[1]).toContain(`luksmith:${guest.id}:vdb:${b}`);
    expect(runner.commands[1]?.files).toEqual(["passphrase of vda", "passphrase of vdb"]);
  });

  it("passes no passphrase but by descriptor, and closes the descriptors", async () => {
    const { runner, secrets } = secretsOn({ stdout: ours(a, "vda") }, {});
    await secrets.provide(guest, [secretOf(a, "vda")]);
    expect(JSON.stringify(runner.commands.map(({ args, input }) => ({ args, input })))).not.toContain(
      "passphrase",
    );
    for (const fd of runner.commands.flatMap(({ fds = [] }) => fds)) {
      expect(() => fstatSync(fd)).toThrow(expect.objectContaining({ code: "EBADF" }));
    }
  });

  it("does nothing for nothing", async () => {
    const { runner, secrets } = secretsOn();
    await secrets.provide(guest, []);
    expect(runner.commands).toEqual([]);
  });

  it("makes a stale secret of ours anew", async () => {
    const { runner, secrets } = secretsOn(
      { stdout: ours(a, "vdb", newKeyUuid()), stderr: "error: in use\n" },
      {},
    );
    await secrets.provide(guest, [secretOf(a, "vda")]);
    const [define, value] = ["/proc/self/fd/3", "/proc/self/fd/4"];
    expect(runner.scripts[1]).toBe(
      `secret-undefine ${a}; secret-define ${define}; secret-set-value ${a} --file ${value} --plain`,
    );
  });

  it.each([
    ["another usage", "volume /images/disk.qcow2"],
    ["no usage", "Unused"],
    ["a usage of ours for another UUID", `volume luksmith:${guest.id}:vda:${newKeyUuid()}`],
  ])("uses a secret with %s as it is", async (_, usage) => {
    const { runner, secrets } = secretsOn(
      { stdout: ` ${a}   ${usage}\n${ours(b, "vdb")}`, stderr: "error: x\n" },
      {},
    );
    await secrets.provide(guest, [secretOf(a, "vda"), secretOf(b, "vdb")]);
    expect(runner.scripts[1]).toBe(`secret-set-value ${b} --file /proc/self/fd/3 --plain`);
  });

  it("takes back what it defined when one cannot be defined", async () => {
    const list = { stdout: ours(a, "vda") + ours(b, "vdb") };
    const { runner, secrets } = secretsOn(
      { ...list, stderr: "error: no\nerror: internal error: no\n" },
      list,
      {},
    );
    const provide = secrets.provide(guest, [secretOf(a, "vda"), secretOf(b, "vdb"), secretOf(c, "vdc")]);
    await expect(provide).rejects.toMatchObject({
      code: "HOST_SECRET_FAILED",
      why: "no: internal error: no",
    });
    expect(runner.scripts.slice(1)).toEqual(["secret-list", `secret-undefine ${a}; secret-undefine ${b}`]);
  });

  it("takes back what it defined when one gets no value", async () => {
    const list = { stdout: ours(a, "vda") };
    const { runner, secrets } = secretsOn(list, { stderr: "error: Failed to set secret value\n" }, list, {});
    const provide = secrets.provide(guest, [secretOf(a, "vda")]);
    await expect(provide).rejects.toMatchObject({ code: "HOST_SECRET_FAILED" });
    expect(runner.scripts.at(-1)).toBe(`secret-undefine ${a}`);
  });

  it("reports the first error when taking back fails as well", async () => {
    const gone = { exitCode: 1, stderr: "error: failed to connect to the hypervisor\n" };
    const { secrets } = secretsOn({ stdout: ours(a, "vda") }, { stderr: "error: no\n" }, gone);
    await expect(secrets.provide(guest, [secretOf(a, "vda")])).rejects.toMatchObject({
      code: "HOST_SECRET_FAILED",
    });
  });
});

describe("what a guest has of an earlier start", () => {
  const set = (uuid: KeyUuid) => `secret-set-value ${uuid} --file /proc/self/fd/3 --plain`;

  it("is withdrawn with no process more, where it is asked for", async () => {
    const stdout = ours(a, "vda") + ours(b, "vdb") + ours(c, "vda", newKeyUuid());
    const { runner, secrets } = secretsOn({ stdout }, {});
    await secrets.provide(guest, [secretOf(a, "vda")], "withdraw");
    expect(runner.scripts.slice(1)).toEqual([`secret-undefine ${b}; ${set(a)}`]);
  });

  it("stays where it is not: of an attached disk, only its own secret is given", async () => {
    const { runner, secrets } = secretsOn({ stdout: ours(a, "vda") + ours(b, "vdb") }, {});
    await secrets.provide(guest, [secretOf(a, "vda")]);
    expect(runner.scripts.slice(1)).toEqual([set(a)]);
  });

  it("does not fail the start when it is gone already", async () => {
    const gone = { exitCode: 1, stderr: "error: Failed to delete secret\nerror: Secret not found\n" };
    const { runner, secrets } = secretsOn({ stdout: ours(a, "vda") + ours(b, "vdb") }, gone, {});
    await secrets.provide(guest, [secretOf(a, "vda")], "withdraw");
    expect(runner.scripts[2]).toBe(set(a));
  });

  it("still fails it when a value cannot be set", async () => {
    const list = { stdout: ours(a, "vda") + ours(b, "vdb") };
    const no = { exitCode: 1, stderr: "error: Failed to set secret value\n" };
    const { secrets } = secretsOn(list, no, no, { stdout: ours(a, "vda") }, {});
    const provide = secrets.provide(guest, [secretOf(a, "vda")], "withdraw");
    await expect(provide).rejects.toMatchObject({ code: "HOST_SECRET_FAILED" });
  });

  it("stays where another guest needs it, or may", async () => {
    const [other, over] = [newKeyUuid(), newKeyUuid()];
    const shared = ` ${over}   volume luksmith:${other}:vda:${over}:over:${b}\n`;
    const base = ` ${c}   volume luksmith:${guest.id}:vda:${c}:base\n`;
    const { runner, secrets } = secretsOn({ stdout: ours(a, "vda") + ours(b, "vdb") + shared + base }, {});
    await secrets.provide(guest, [secretOf(a, "vda")], "withdraw");
    expect(runner.scripts.slice(1)).toEqual([set(a)]);
  });

  it("is withdrawn also where all that is provided is foreign", async () => {
    const { runner, secrets } = secretsOn({ stdout: ` ${a}   volume somebody's\n${ours(b, "vdb")}` }, {});
    await secrets.provide(guest, [secretOf(a, "vda")], "withdraw");
    expect(runner.scripts.slice(1)).toEqual([`secret-undefine ${b}`]);
  });
});

describe("withdrawing", () => {
  it("touches only secrets of ours", async () => {
    const { runner, secrets } = secretsOn(
      { stdout: `${ours(a, "vda")} ${b}   volume other\n${ours(c, "vdc")}` },
      {},
    );
    await secrets.withdraw(guest, [a, b]);
    expect(runner.scripts).toEqual(["secret-list", `secret-undefine ${a}`]);
  });

  it("does nothing where nothing is left", async () => {
    const { runner, secrets } = secretsOn({ stdout: "" });
    await secrets.withdraw(guest, [a]);
    await secrets.withdraw(guest, []);
    expect(runner.scripts).toEqual(["secret-list"]);
  });

  it("is content when somebody else was faster", async () => {
    const { secrets } = secretsOn(
      { stdout: ours(a, "vda") },
      { stderr: "error: Secret not found\n" },
      { stdout: "" },
    );
    await expect(secrets.withdraw(guest, [a])).resolves.toBeUndefined();
  });

  it("tries all before it fails", async () => {
    const both = ours(a, "vda") + ours(b, "vdb");
    const { runner, secrets } = secretsOn(
      { stdout: both },
      { stderr: "error: no\n" },
      { stdout: ours(a, "vda") },
    );
    await expect(secrets.withdraw(guest, [a, b])).rejects.toMatchObject({ code: "HOST_SECRET_FAILED" });
    expect(runner.scripts[1]).toBe(`secret-undefine ${a}; secret-undefine ${b}`);
  });
});

/** Guests whose disks lie over one encrypted base, whose secret there can be but once. */
describe("a base that guests share", () => {
  const other = newKeyUuid();
  const [base, otherOwn] = [newKeyUuid(), newKeyUuid()];
  const baseSecret = () => ({ ...secretOf(base, "vda"), opens: "base" }) as const;
  const ofBase = (guestId = guest.id) => ` ${base}   volume luksmith:${guestId}:vda:${base}:base\n`;
  const overlay = (uuid: KeyUuid, guestId = guest.id) =>
    ` ${uuid}   volume luksmith:${guestId}:vda:${uuid}:over:${base}\n`;
  const flocks = () => lockRunner.lines.map((line) => line.split(" ", 2).join(" "));

  it("is provided with the overlay, whose own secret says that it is needed", async () => {
    const { runner, secrets } = secretsOn({ stdout: overlay(a) + ofBase() }, {});
    await secrets.provide(guest, [secretOf(a, "vda"), baseSecret()]);
    const [defined] = runner.commands;
    expect(defined?.files.map((file) => /<volume>(.*)<\/volume>/.exec(file)?.[1])).toEqual([
      `luksmith:${guest.id}:vda:${base}:base`,
      `luksmith:${guest.id}:vda:${a}:over:${base}`,
    ]);
    expect(runner.scripts[1]).toMatch(`secret-set-value ${base} `);
    expect(flocks()).toEqual(["flock -s"]);
  });

  it("keeps the secret that the first guest gave it: it is never away for a moment", async () => {
    const { runner, secrets } = secretsOn(
      { stdout: ofBase(other) + overlay(otherOwn, other) + overlay(a), stderr: "error: in use\n" },
      {},
    );
    await secrets.provide(guest, [secretOf(a, "vda"), baseSecret()]);
    expect(runner.scripts[1]).not.toContain("secret-undefine");
    expect(runner.scripts[1]).toContain(`secret-set-value ${base} `);
  });

  it("keeps it as well when the guest comes whose own disk it is", async () => {
    const stdout = ofBase(other) + overlay(otherOwn, other);
    const { runner, secrets } = secretsOn({ stdout, stderr: "error: in use\n" }, {});
    await secrets.provide(guest, [secretOf(base, "vda")]);
    expect(runner.scripts[1]).toBe(`secret-set-value ${base} --file /proc/self/fd/3 --plain`);
  });

  it("is listed for each guest that needs it, whoever was the first", async () => {
    const stdout = ofBase(other) + overlay(a) + overlay(otherOwn, other);
    const { secrets } = secretsOn({ stdout }, { stdout });
    expect(await secrets.provided(guest.id)).toEqual([
      { uuid: a, guestId: guest.id, disk: "vda" },
      { uuid: base, guestId: guest.id, disk: "vda" },
    ]);
    expect(await secrets.provided(other)).toHaveLength(2);
  });

  it("stays while another guest needs it", async () => {
    const stdout = ofBase() + overlay(a) + overlay(otherOwn, other);
    const { runner, secrets } = secretsOn({ stdout }, { stdout }, {});
    await secrets.withdraw(guest, [a, base]);
    expect(runner.scripts).toEqual(["secret-list", "secret-list", `secret-undefine ${a}`]);
    expect(flocks()).toEqual(["flock -x"]);
  });

  it("goes with the last one, though the first gave it its secret", async () => {
    const stdout = ofBase(other) + overlay(a);
    const { runner, secrets } = secretsOn({ stdout }, { stdout }, {});
    await secrets.withdraw(guest, [a, base]);
    expect(runner.scripts.at(-1)).toBe(`secret-undefine ${a}; secret-undefine ${base}`);
  });

  it("stays as long as the guest whose own disk it is", async () => {
    const stdout = ours(base, "vda", other) + overlay(a);
    const { runner, secrets } = secretsOn(
      { stdout },
      { stdout },
      {},
      { stdout: ours(base, "vda", other) },
      {},
    );
    await secrets.withdraw(guest, [a, base]);
    expect(runner.scripts.at(-1)).toBe(`secret-undefine ${a}`);
    await secrets.withdraw({ id: other, name: "template" }, [base]);
    expect(runner.scripts.at(-1)).toBe(`secret-undefine ${base}`);
  });

  it("goes with a guest that has no secret of ours for the overlay itself", async () => {
    const stdout = `${ofBase()} ${a}   volume somebody's\n`;
    const { runner, secrets } = secretsOn({ stdout }, { stdout }, { stdout }, {});
    expect(await secrets.provided(guest.id)).toEqual([{ uuid: base, guestId: guest.id, disk: "vda" }]);
    await secrets.withdraw(guest, [a, base]);
    expect(runner.scripts.at(-1)).toBe(`secret-undefine ${base}`);
  });

  it("stays with the others when one of them cannot be given its secrets", async () => {
    const stdout = ofBase(other) + overlay(otherOwn, other);
    const { runner, secrets } = secretsOn({ stdout, stderr: "error: no\n" }, { stdout }, { stdout });
    const provide = secrets.provide(guest, [secretOf(a, "vda"), baseSecret()]);
    await expect(provide).rejects.toMatchObject({ code: "HOST_SECRET_FAILED" });
    expect(runner.scripts.slice(1)).toEqual(["secret-list", "secret-list"]);
  });

  it("is given once to a guest with two disks over it, or with itself as a disk", async () => {
    const { runner, secrets } = secretsOn({ stdout: ours(base, "vdb") + overlay(a) }, {});
    await secrets.provide(guest, [
      secretOf(a, "vda"),
      baseSecret(),
      secretOf(base, "vdb"),
      { ...baseSecret(), disk: "vdc" },
    ]);
    expect(runner.scripts[1]?.match(/secret-set-value/g)).toHaveLength(2);
    expect(runner.commands[0]?.files.join()).not.toContain(":base<");
  });
});

describe("listing", () => {
  it("tells ours from others, and one guest's from another's", async () => {
    const other = newKeyUuid();
    const stdout = `${ours(a, "vda")}${ours(b, "vdb", other)} ${c}   ceph luksmith:${guest.id}:vdc:${c}\n`;
    const { secrets } = secretsOn({ stdout }, { stdout });
    expect(await secrets.provided()).toEqual([
      { uuid: a, guestId: guest.id, disk: "vda" },
      { uuid: b, guestId: other, disk: "vdb" },
    ]);
    expect(await secrets.provided(other)).toEqual([{ uuid: b, guestId: other, disk: "vdb" }]);
  });

  it("does not take a failure for an empty list", async () => {
    const { secrets } = secretsOn({ exitCode: 1, stderr: "error: Failed to list secrets\n" });
    await expect(secrets.provided()).rejects.toMatchObject({ code: "HOST_SECRET_FAILED" });
  });
});
