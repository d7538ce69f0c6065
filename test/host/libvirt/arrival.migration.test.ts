import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { ARRIVALS_DIRECTORY } from "../../../src/migration/arrivals.js";
import type { LibvirtHost } from "../../lab/libvirt-host.js";
import { APART, diskXml, hookedHostsForThisFile, LISTENERS, until } from "./hooked-hosts.js";

const hosts = hookedHostsForThisFile();

describe("what a guest that migrates here brings", () => {
  it.each([
    ["nothing but itself", ""],
    ["listeners of its own", LISTENERS],
  ])("is seen for one with %s, before it is sent", async (_, devices) => {
    await hosts().startGuest(diskXml() + devices);
    expect(await hosts().migrate()).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await hosts().sights()).toMatchObject([
      { cause: "migrate", guest: hosts().guest },
      { cause: "arrival", guest: hosts().guest, incoming: "memory", opened: "read-only" },
    ]);
    await hosts().b.virsh("destroy", "--domain", hosts().guest.id);
    await hosts().b.virsh("undefine", "--domain", hosts().guest.id);
    await hosts().startGuest(diskXml() + devices);
    expect(await hosts().migrate(...withStorage())).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await hosts().sights()).at(-1)).toMatchObject({
      cause: "arrival",
      incoming: "memory-and-storage",
      opened: "for-writing",
    });
  });

  it("is seen over TCP", async () => {
    await hosts().startGuest(diskXml());
    const tcp = ["--migrateuri", "tcp://127.0.0.1", "--listen-address", "127.0.0.1"];
    const flags = ["migrate", "--live", "--unsafe", "--copy-storage-all", ...tcp];
    const domain = ["--domain", hosts().guest.id, "--desturi", hosts().b.uri];
    await execa("virsh", ["-q", "-c", hosts().a.uri, ...flags, ...domain]);
    expect((await hosts().sights()).at(-1)).toMatchObject({
      cause: "arrival",
      incoming: "memory-and-storage",
      opened: "for-writing",
    });
  });

  it("is not looked at where nothing is noted", async () => {
    await rm(join(hosts().b.root, ARRIVALS_DIRECTORY), { recursive: true });
    await hosts().startGuest("");
    expect(await hosts().migrate()).toMatchObject({ exitCode: 0 });
    expect((await hosts().sights()).map(({ cause }) => cause)).toEqual(["migrate"]);
  });
});

describe("where a guest is that migrates here", () => {
  it("is told before, while its memory comes, and after", async () => {
    await hosts().startGuest("");
    expect(await hosts().target.migration.whereabouts(hosts().guest)).toBe("absent");
    expect(await hosts().source.migration.whereabouts(hosts().guest)).toBe("running");
    const migration = hosts().migrate();
    // while the arrival's hook runs, libvirt lets us wait; and then there is the memory still to come
    await until(async () => (await hosts().target.migration.whereabouts(hosts().guest)) !== "absent");
    const seen = new Set<string>();
    const done = migration.then(() => "done");
    while ((await Promise.race([done, sleep(10)])) !== "done")
      seen.add(await hosts().target.migration.whereabouts(hosts().guest));
    expect(seen).toContain("arriving");
    expect(await migration).toMatchObject({ exitCode: 0 });
    expect(await hosts().target.migration.whereabouts(hosts().guest)).toBe("running");
    expect(await hosts().source.migration.whereabouts(hosts().guest)).toBe("absent");
    await hosts().b.virsh("suspend", "--domain", hosts().guest.id);
    expect(await hosts().target.migration.whereabouts(hosts().guest)).toBe("running");
    await hosts().b.virsh("destroy", "--domain", hosts().guest.id);
    expect(await hosts().target.migration.whereabouts(hosts().guest)).toBe("absent");
  });

  it("is here for one that is left paused", async () => {
    await hosts().startGuest("");
    expect(await hosts().migrate("--suspend")).toMatchObject({ exitCode: 0 });
    expect(await hosts().target.migration.whereabouts(hosts().guest)).toBe("running");
  });
});

describe("the configuration that the migrate hook answers", () => {
  it("is what QEMU runs with: it opens the volume here with the key here", async () => {
    const [from, to] = [randomUUID(), randomUUID()];
    await makeLuksVolume(hosts().a, from);
    await makeLuksVolume(hosts().b, to);
    await hosts().behave({ rekey: { from, to } });
    const block = `<encryption format='luks'><secret type='passphrase' uuid='${from}'/></encryption>`;
    await hosts().startGuest(diskXml(block));
    expect(await hosts().migrate(...withStorage())).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await hosts().sights())[0]?.secrets).toEqual([to]);
    const running = await hosts().b.virsh("dumpxml", "--domain", hosts().guest.id);
    expect(running).toContain(to);
    expect(running).not.toContain(from);
    // libvirt has the persistent one from the source
    expect(await hosts().b.virsh("dumpxml", "--inactive", "--domain", hosts().guest.id)).toContain(from);
  });
});

/** A volume of the host that is encrypted with a secret of this UUID, which is its passphrase as well. */
async function makeLuksVolume(host: LibvirtHost, uuid: string): Promise<void> {
  const xml = `<secret ephemeral='yes' private='yes'><uuid>${uuid}</uuid></secret>`;
  const script = `set -e; cd /run; printf %s "$1" >secret.xml; virsh -q -c qemu:///system secret-define secret.xml
virsh -q -c qemu:///system secret-set-value "$2" "$(printf %s "$2" | base64)" 2>/dev/null
rm -f "$3"; truncate -s 8M "$3"
printf %s "$2" | cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --key-file=- "$3"`;
  const done = await host.exec(["sh", "-c", script, "sh", xml, uuid, APART]);
  if (done.exitCode !== 0) throw new Error(done.stderr);
}

const withStorage = () => ["--copy-storage-all", "--disks-uri", `unix://${hosts().a.dir}/storage`];
