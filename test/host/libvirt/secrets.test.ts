import { fstatSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import { LibvirtSecrets } from "../../../src/host/libvirt/secrets.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import type { HostSecret } from "../../../src/host/host-adapter.js";
import { type KeyUuid, newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { RecordingRunner } from "./recording-runner.js";

const guest = { id: "5afe9aab-0794-45bc-8958-b5600a7a36a0", name: "web 1'; destroy" };
const [a, b, c] = [newKeyUuid(), newKeyUuid(), newKeyUuid()];
const made: Secret[] = [];

afterEach(() => {
  for (const secret of made.splice(0)) secret.dispose();
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
  return { runner, secrets: new LibvirtSecrets(new Virsh("qemu:///system", runner)) };
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

describe("withdrawing", () => {
  it("touches only secrets of ours", async () => {
    const { runner, secrets } = secretsOn(
      { stdout: `${ours(a, "vda")} ${b}   volume other\n${ours(c, "vdc")}` },
      {},
    );
    await secrets.withdraw([a, b]);
    expect(runner.scripts).toEqual(["secret-list", `secret-undefine ${a}`]);
  });

  it("does nothing where nothing is left", async () => {
    const { runner, secrets } = secretsOn({ stdout: "" });
    await secrets.withdraw([a]);
    await secrets.withdraw([]);
    expect(runner.scripts).toEqual(["secret-list"]);
  });

  it("is content when somebody else was faster", async () => {
    const { secrets } = secretsOn(
      { stdout: ours(a, "vda") },
      { stderr: "error: Secret not found\n" },
      { stdout: "" },
    );
    await expect(secrets.withdraw([a])).resolves.toBeUndefined();
  });

  it("tries all before it fails", async () => {
    const both = ours(a, "vda") + ours(b, "vdb");
    const { runner, secrets } = secretsOn(
      { stdout: both },
      { stderr: "error: no\n" },
      { stdout: ours(a, "vda") },
    );
    await expect(secrets.withdraw([a, b])).rejects.toMatchObject({ code: "HOST_SECRET_FAILED" });
    expect(runner.scripts[1]).toBe(`secret-undefine ${a}; secret-undefine ${b}`);
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
