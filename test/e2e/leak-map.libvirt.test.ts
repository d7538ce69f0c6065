import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { StatusOutput } from "../../src/generated/status.js";
import { isoImage } from "../host/iso-image.js";
import { escapeXml } from "../lab/test-domain.js";
import { hostForThisFile } from "./support/each-test.js";
import { FLAVOR_ASKS, type TestGuest } from "./support/guests.js";

const host = hostForThisFile();

/** A guest with an encrypted disk, and these devices. */
async function guestWith(
  devices: string,
  format: "raw" | "qcow2" = "raw",
  name = "web1",
): Promise<TestGuest> {
  const { disks } = await host().guest("volume", [format]);
  await host().libvirt.virsh("undefine", "volume");
  const guest = await host().define({ name, disks, devices, metadata: FLAVOR_ASKS });
  await host().must("protect", name, "--disk", "vda");
  return guest;
}

/** Places by kind, without the ones that every guest has. */
async function places(name: string): Promise<string[]> {
  const { guests } = (await host().json("status", name)) as StatusOutput;
  const found = guests[0]?.dataPlaces ?? [];
  return found
    .filter(({ kind }) => !["saved-memory", "host-swap", "host-secrets"].includes(kind))
    .map(({ kind, protection, where = "" }) => `${kind} ${protection} ${where}`)
    .sort();
}

it("a configuration drive is known by its label, whatever it is called, and another medium is not taken for one", async () => {
  const [drive, medium] = [join(host().images, "x.iso"), join(host().images, "y.iso")];
  await writeFile(drive, isoImage("cidata"));
  await writeFile(medium, isoImage("Debian 12 amd64 n"));
  const cdrom = (path: string, dev: string) =>
    `<disk type='file' device='cdrom'><source file='${path}'/><target dev='${dev}' bus='ide'/></disk>`;
  await guestWith(cdrom(drive, "hda") + cdrom(medium, "hdb"));
  expect(await places("web1")).toEqual([`medium plaintext ${drive}`, `medium possible ${medium}`]);
});

it.each([
  ["a drive of a guest that is shut off", "cdrom", ["--config"]],
  ["a drive of a guest that runs, in one step", "cdrom", ["--live --config"]],
  ["a drive of a guest that runs, in two steps", "cdrom", ["--live --config", "--live"]],
  ["a disk of a guest that is shut off", "disk", ["--config"]],
] as const)("a configuration drive is gone when its hint was followed: %s", async (_, device, flags) => {
  const image = join(host().images, "x.iso");
  await writeFile(image, isoImage("cidata"));
  const [dev, bus] = device === "cdrom" ? ["hda", "ide"] : ["vdb", "virtio"];
  const guest = await guestWith(
    `<disk type='file' device='${device}'><source file='${image}'/><target dev='${dev}' bus='${bus}'/></disk>`,
  );
  if (flags[0] !== "--config") await host().start(guest);
  // somebody did the half of it
  if (flags.length > 1) await host().libvirt.virsh("change-media", "web1", "hda", "--eject", "--config");
  const command = /virsh .*$/m.exec(await host().must("status", "web1"))?.[0] ?? "";
  expect(command.endsWith(` ${flags.at(-1) ?? ""}`)).toBe(true);
  expect(await host().paste(command)).toMatchObject({ exitCode: 0 });
  expect(await places("web1")).toEqual([]);
});

it("a console log is told before and after it is written", async () => {
  const log = join(host().images, "serial.log");
  await guestWith(`<serial type='file'><source path='${log}'/><target port='0'/></serial>`);
  expect(await places("web1")).toEqual([`console-log possible ${log}`]);
  await host().libvirt.virsh("start", "web1");
  expect(await places("web1")).toEqual([`console-log plaintext ${log}`]);
});

it("a TPM's state is what its files say, not only what the definition does", async () => {
  const secret = randomUUID();
  const xml = `<secret ephemeral='no' private='yes'><uuid>${secret}</uuid><usage type='vtpm'><name>t</name></usage></secret>`;
  const file = join(host().libvirt.dir, "vtpm.xml");
  await writeFile(file, xml);
  await host().libvirt.virsh("secret-define", file);
  await writeFile(`${file}.value`, "a passphrase");
  await host().libvirt.virsh("secret-set-value", secret, "--file", `${file}.value`, "--plain");
  const tpm = (inside: string) =>
    `<tpm model='tpm-tis'><backend type='emulator' version='2.0'>${inside}</backend></tpm>`;
  const encryption = `<encryption secret='${secret}'/>`;
  for (const [inside, protection] of [
    ["", "plaintext"],
    [encryption, "encrypted"],
  ] as const) {
    const guest = await guestWith(tpm(inside), "raw", protection);
    const where = `/var/lib/libvirt/swtpm/${guest.uuid}`;
    expect(await places(protection)).toEqual([`tpm-state possible ${where}`]);
    await host().start(guest);
    expect(await places(protection)).toEqual([`tpm-state ${protection} ${where}`]);
    await host().stop(guest);
    expect(await places(protection)).toEqual([`tpm-state ${protection} ${where}`]);
    if (protection !== "plaintext") continue;
    // what is there was made before anybody asked for its encryption
    const definition = await host().definition(guest);
    await host().libvirt.define(
      definition.replace(
        "<backend type='emulator' version='2.0'/>",
        `<backend type='emulator' version='2.0'>${encryption}</backend>`,
      ),
    );
    expect(await host().definition(guest)).toContain(encryption);
    expect(await places(protection)).toEqual([`tpm-state plaintext ${where}`]);
  }
  await host().libvirt.virsh("secret-undefine", secret);
});

it("a snapshot's memory and the plain file over an encrypted disk, under hostile names", async () => {
  const name = `we"b' $(x)`;
  const guest = await guestWith("", "qcow2", name);
  await host().start(guest);
  const [memory, overlay] = [join(host().images, "m'1.memory"), join(host().images, "o.qcow2")];
  const [snapshot, file] = [`s '1 --\u202e`, join(host().libvirt.dir, "snapshot.xml")];
  await writeFile(
    file,
    `<domainsnapshot><name>${escapeXml(snapshot)}</name><memory snapshot='external' file='${escapeXml(memory)}'/>
     <disks><disk name='vda' snapshot='external'><source file='${overlay}'/></disk></disks></domainsnapshot>`,
  );
  await host().libvirt.virsh("snapshot-create", guest.uuid, file, "--atomic");
  const expected = [`disk plaintext ${overlay}`, `snapshot-memory plaintext ${memory}`];
  expect(await places(name)).toEqual(expected);
  const text = await host().must("status", name);
  expect(text).toContain("memory of snapshot s '1 --\\u{202e}");
  expect(text).not.toContain("\u202e");
  expect(await host().must("status")).toContain(
    `${name} has data in plaintext besides its disks: snapshot's memory (luksmith status '`,
  );
  await host().libvirt.virsh("snapshot-delete", guest.uuid, "--metadata", "--current");
});

it("a backup that runs is seen while it runs, and its target", async () => {
  const guest = await guestWith("", "qcow2");
  await host().start(guest);
  const file = join(host().libvirt.dir, "backup.xml");
  const scratch = join(host().images, "scratch.qcow2");
  await writeFile(
    file,
    `<domainbackup mode='pull'><server transport='unix' socket='${join(host().libvirt.dir, "nbd")}'/>
     <disks><disk name='vda' type='file'><scratch file='${scratch}'/></disk></disks></domainbackup>`,
  );
  await host().libvirt.virsh("backup-begin", guest.uuid, file);
  expect(await places("web1")).toEqual([`backup plaintext ${scratch}`]);
  await host().libvirt.virsh("domjobabort", guest.uuid);
  expect(await places("web1")).toEqual([]);
});

it("a plain disk that only the running guest has is told as well", async () => {
  const guest = await guestWith("");
  await host().start(guest);
  const { disks } = await host().guest("other", ["raw"]);
  const path = disks[0]?.path ?? "";
  await host().libvirt.virsh("attach-disk", guest.uuid, path, "vdb", "--live");
  expect(await places("web1")).toEqual([`disk plaintext ${path}`]);
});

it("the passphrases that libvirt keeps of a running guest are told while it runs", async () => {
  const guest = await guestWith("");
  const kinds = async () => {
    const { guests } = (await host().json("status", "web1")) as StatusOutput;
    return guests[0]?.dataPlaces.map(({ kind }) => kind) ?? [];
  };
  expect(await kinds()).not.toContain("host-secrets");
  await host().start(guest);
  expect(await kinds()).toContain("host-secrets");
});
