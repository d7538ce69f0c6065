import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import type { HostSecret } from "../../../src/host/host-adapter.js";
import { LibvirtHostAdapter } from "../../../src/host/libvirt/libvirt-host-adapter.js";
import { type KeyUuid, newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { Secret } from "../../../src/secret/secret.js";
import { type LibvirtHost, startLibvirtHost } from "../../lab/libvirt-host.js";

const guest = { id: "5afe9aab-0794-45bc-8958-b5600a7a36a0", name: "web 1'; secret-undefine --all <&>" };
let host: LibvirtHost;
let adapter: LibvirtHostAdapter;
const made: Secret[] = [];

beforeAll(async () => {
  host = await startLibvirtHost();
  const locks = join(host.dir, "lock");
  adapter = new LibvirtHostAdapter({ libvirtUri: host.uri }, new ExecaCommandRunner(), undefined, locks);
});

afterEach(async () => {
  for (const secret of made.splice(0)) secret.dispose();
  for (const uuid of await host.secretsLeft()) await host.virsh("secret-undefine", uuid);
});

afterAll(() => host.stop());

function secretsFor(...disks: string[]): HostSecret[] {
  return disks.map((disk) => {
    const passphrase = Secret.randomPassphrase();
    made.push(passphrase);
    return { uuid: newKeyUuid(), disk, passphrase };
  });
}

const uuidsOf = (secrets: readonly Pick<HostSecret, "uuid">[]) => secrets.map(({ uuid }) => uuid);

/** A secret whose value can be read back, unlike ours. */
async function defineForeign(uuid: KeyUuid, usage: string, value: string): Promise<void> {
  const element = usage === "" ? "" : `<usage type='volume'><volume>${usage}</volume></usage>`;
  const xml = `<secret ephemeral='yes' private='no'><uuid>${uuid}</uuid>${element}</secret>`;
  await host.exec(["sh", "-c", 'printf %s "$1" >/run/secret.xml', "sh", xml]);
  await host.virsh("secret-define", "/run/secret.xml");
  await host.virsh("secret-set-value", uuid, Buffer.from(value).toString("base64"));
}

const valueOf = (uuid: KeyUuid) => host.virsh("secret-get-value", "--plain", uuid);

describe("host secrets of a real libvirtd", () => {
  it("are provided, listed and withdrawn", async () => {
    const secrets = secretsFor("vda", "sdb");
    await adapter.provideSecrets(guest, secrets);
    const provided = secrets.map(({ uuid, disk }) => ({ uuid, guestId: guest.id, disk }));
    expect(await adapter.providedSecrets(guest)).toEqual(expect.arrayContaining(provided));
    expect(await adapter.providedSecrets()).toHaveLength(2);
    expect(await adapter.providedSecrets({ ...guest, id: newKeyUuid() })).toEqual([]);
    await adapter.withdrawSecrets(guest, uuidsOf(secrets));
    expect(await host.secretsLeft()).toEqual([]);
  });

  it("are on no disk and told to no client", async () => {
    const [secret] = secretsFor("vda");
    await adapter.provideSecrets(guest, [secret!]);
    const asked = await host.exec(["virsh", "-c", "qemu:///system", "secret-get-value", secret!.uuid]);
    expect(asked.exitCode).toBe(1);
    expect(asked.stderr).toContain("secret is private");
    const stored = await host.exec(["ls", "-A", "/etc/libvirt/secrets"]);
    expect(stored.stdout).toBe("");
  });

  it("are sixteen in one go", async () => {
    const disks = Array.from({ length: 16 }, (_, index) => `sd${String.fromCharCode(97 + index)}`);
    const secrets = secretsFor(...disks);
    await adapter.provideSecrets(guest, secrets);
    expect(await adapter.providedSecrets(guest)).toHaveLength(16);
    await adapter.withdrawSecrets(guest, uuidsOf(secrets));
    expect(await host.secretsLeft()).toEqual([]);
  });

  it("can be provided again, with another passphrase", async () => {
    const [first] = secretsFor("vda");
    await adapter.provideSecrets(guest, [first!]);
    await adapter.provideSecrets(guest, [{ ...secretsFor("vda")[0]!, uuid: first!.uuid }]);
    expect(await adapter.providedSecrets()).toEqual([{ uuid: first!.uuid, guestId: guest.id, disk: "vda" }]);
  });

  it("replace a stale one of the same UUID", async () => {
    const [secret] = secretsFor("vda");
    await adapter.provideSecrets({ id: newKeyUuid(), name: "another" }, [{ ...secret!, disk: "vdz" }]);
    await adapter.provideSecrets(guest, [secret!]);
    expect(await adapter.providedSecrets()).toEqual([{ uuid: secret!.uuid, guestId: guest.id, disk: "vda" }]);
  });

  it.each([
    ["with a usage", "/images/somebody's disk.img"],
    ["without one", ""],
  ])("leave a foreign one of the same UUID alone, %s", async (_, usage) => {
    const [theirs, ours] = secretsFor("vda", "vdb");
    await defineForeign(theirs!.uuid, usage, "their passphrase");
    await adapter.provideSecrets(guest, [theirs!, ours!]);
    expect(await valueOf(theirs!.uuid)).toBe("their passphrase");
    expect(await adapter.providedSecrets()).toEqual([{ uuid: ours!.uuid, guestId: guest.id, disk: "vdb" }]);
    await adapter.withdrawSecrets(guest, [theirs!.uuid, ours!.uuid]);
    expect(await host.secretsLeft()).toEqual([theirs!.uuid]);
  });

  it("are all or none: the third cannot be defined, so the first two are gone", async () => {
    const secrets = secretsFor("vda", "vdb", "vdc");
    const taken = newKeyUuid();
    await defineForeign(taken, `luksmith:${guest.id}:vdc:${secrets[2]!.uuid}`, "their passphrase");
    await expect(adapter.provideSecrets(guest, secrets)).rejects.toMatchObject({
      code: "HOST_SECRET_FAILED",
    });
    expect(await host.secretsLeft()).toEqual([taken]);
    expect(await valueOf(taken)).toBe("their passphrase");
  });

  it("are withdrawn idempotently", async () => {
    const secrets = secretsFor("vda", "vdb");
    await adapter.provideSecrets(guest, secrets.slice(0, 1));
    await adapter.withdrawSecrets(guest, uuidsOf(secrets));
    await adapter.withdrawSecrets(guest, uuidsOf(secrets));
    expect(await host.secretsLeft()).toEqual([]);
  });

  it("of a base last as long as one of the guests that share it", async () => {
    const [base, one, two] = [secretsFor("vda")[0]!, secretsFor("vda")[0]!, secretsFor("vda")[0]!];
    const under = { ...base, opens: "base" } as const;
    const guests = [guest, { id: newKeyUuid(), name: "second" }] as const;
    await Promise.all([
      adapter.provideSecrets(guests[0], [one, under]),
      adapter.provideSecrets(guests[1], [two, under]),
    ]);
    expect((await host.secretsLeft()).sort()).toEqual(uuidsOf([base, one, two]).sort());
    for (const [index, own] of [one, two].entries()) {
      const provided = await adapter.providedSecrets(guests[index]);
      expect(uuidsOf(provided).sort()).toEqual(uuidsOf([own, base]).sort());
    }
    await adapter.withdrawSecrets(guests[0], uuidsOf([one, base]));
    expect((await host.secretsLeft()).sort()).toEqual(uuidsOf([base, two]).sort());
    await adapter.withdrawSecrets(guests[1], uuidsOf([two, base]));
    expect(await host.secretsLeft()).toEqual([]);
  });

  it("survive a reload of libvirtd, not a restart", async () => {
    const [secret] = secretsFor("vda");
    await adapter.provideSecrets(guest, [secret!]);
    await host.reloadDaemon();
    expect(await host.secretsLeft()).toEqual([secret!.uuid]);
    await host.restartDaemon();
    expect(await host.secretsLeft()).toEqual([]);
  });
});

describe("a libvirtd that is gone", () => {
  it("is reported, and nothing is left when it is back", async () => {
    const secrets = secretsFor("vda");
    await host.stopDaemon();
    try {
      const unavailable = { code: "HOST_UNAVAILABLE" };
      await expect(adapter.provideSecrets(guest, secrets)).rejects.toMatchObject(unavailable);
      await expect(adapter.providedSecrets()).rejects.toMatchObject(unavailable);
      await expect(adapter.withdrawSecrets(guest, uuidsOf(secrets))).rejects.toMatchObject(unavailable);
      await expect(adapter.listGuests()).rejects.toMatchObject(unavailable);
      await expect(adapter.versions()).rejects.toMatchObject(unavailable);
    } finally {
      await host.startDaemon();
    }
    expect(await host.secretsLeft()).toEqual([]);
  });

  it("is reported when it dies during a call", async () => {
    await host.exec(["sh", "-c", "kill -STOP $(cat /run/libvirtd.pid)"]);
    const provide = adapter.provideSecrets(guest, secretsFor("vda")).catch((thrown: unknown) => thrown);
    await host.exec(["sh", "-c", "sleep 0.2; kill -KILL $(cat /run/libvirtd.pid)"]);
    expect(await provide).toMatchObject({ code: "HOST_UNAVAILABLE" });
    await host.startDaemon();
    expect(await host.secretsLeft()).toEqual([]);
  });
});
