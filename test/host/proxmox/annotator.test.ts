import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseVmConfig, type VmConfig } from "../../../src/guest-config/proxmox/vm-config.js";
import { type AnnotateWish, ProxmoxAnnotator } from "../../../src/host/proxmox/annotator.js";
import type { KeyUuid } from "../../../src/keystore/key-uuid.js";
import type { Keyring } from "../../../src/keystore/keyring.js";
import { KEYRING, STORAGE } from "../../../src/tokens.js";
import { FakeQmRunner } from "../../fake/proxmox/fake-qm.js";
import { VMS } from "../../fixtures/proxmox/guests.js";
import { NODE, ProxmoxWorld, startOf } from "./proxmox-world.js";

/** A node with the fake of `qm`; headers, keystore and configuration files are real. */
class AnnotatedWorld extends ProxmoxWorld {
  readonly qm = new FakeQmRunner(this.places, NODE);
  /** How often a keystore was asked for a key. */
  asked = 0;

  async annotate(
    vmids: readonly string[] = [],
    { manner = "apply", notes = "bring-up-to-date" }: Partial<AnnotateWish> = {},
  ) {
    const keyring: Pick<Keyring, "locate"> = {
      locate: async (uuid) => {
        this.asked += 1;
        return await this.container.resolve(KEYRING).locate(uuid);
      },
    };
    const annotator = new ProxmoxAnnotator({
      ...{ runner: this.qm, keyring, settings: this.settings, places: this.places },
      storage: this.container.resolve(STORAGE),
    });
    return await annotator.annotate(vmids, { manner, notes });
  }

  configPath(vmid: number): string {
    return join(this.places.nodes, NODE, "qemu-server", `${vmid}.conf`);
  }

  config(vmid: number): VmConfig {
    return parseVmConfig(readFileSync(this.configPath(vmid)));
  }
}

const DISK = { scsi0: "enc:vm-100-disk-0,size=4M" };

async function worldWithGuest(
  options: Record<string, string> = {},
  more = "",
): Promise<[AnnotatedWorld, KeyUuid]> {
  const world = new AnnotatedWorld();
  const uuid = await world.volume("vm-100-disk-0");
  world.vm(100, { ...DISK, ...options }, { more });
  return [world, uuid];
}

function lineOf(uuid: KeyUuid, disk = "scsi0"): string {
  return `* ${disk}: luks, aes-xts-plain64, 512 bits, key ${uuid}, keystore local`;
}

describe("luksmith annotate", () => {
  it("tells in notes and tag which disks are encrypted, from their headers and the keystore", async () => {
    const [world, uuid] = await worldWithGuest({ name: "web" });
    expect(await world.annotate()).toMatchObject([
      { vmid: "100", name: "web", outcome: "changed", disks: [{ disk: "scsi0", key: uuid }] },
    ]);
    const { options } = world.config(100);
    expect(options).toMatchObject({ ...DISK, name: "web", tags: "encrypted" });
    expect(options["description"]).toContain(lineOf(uuid));
  });

  it("gives qm no secret, the digest of what it has read, and a locale that knows Unicode", async () => {
    const [world] = await worldWithGuest();
    const { digest } = world.config(100);
    await world.annotate(["100"]);
    const [command, another] = world.qm.commands;
    expect(another).toBeUndefined();
    expect(command).toMatchObject({ tool: "qm", env: { LC_ALL: "C.UTF-8" } });
    expect(command?.args.slice(0, 3)).toEqual(["set", "100", "--description"]);
    expect(command?.args.slice(4)).toEqual(["--tags", "encrypted", "--digest", digest]);
  });

  it("changes nothing else in the file, and takes away all that it has added", async () => {
    const more = "\n[PENDING]\nmemory: 1024\n\n[snap]\n#old%3A\nscsi0: enc:vm-100-disk-0\nvmstate: local:1\n";
    const [world] = await worldWithGuest({ tags: "b;a" }, more);
    writeFileSync(
      world.configPath(100),
      `#Grüße%3A %F0%9F%94%92\n#\n#* b\n${readFileSync(world.configPath(100), "utf8")}`,
    );
    const before = world.config(100);
    world.write(`run/luksmith/vm/100/${startOf()}/scsi0`, "it runs");
    const running = new FakeQmRunner(world.places, NODE, ["100"]);
    Object.assign(world, { qm: running });
    await world.annotate();
    const after = world.config(100);
    expect({ ...after.options, description: "", tags: "" }).toEqual({
      ...before.options,
      description: "",
      tags: "",
    });
    expect([after.pending, after.snapshots]).toEqual([before.pending, before.snapshots]);
    expect(after.options["description"]).toMatch(/^Grüße: 🔒\n\n\* b\n\n<!-- luksmith begin -->\n/);
    expect(await world.annotate([], { notes: "remove" })).toMatchObject([{ outcome: "changed" }]);
    expect({ ...world.config(100).options, tags: "" }).toEqual({ ...before.options, tags: "" });
    expect(world.config(100).options["tags"]).toBe("a;b");
  });

  it("asks neither qm nor a keystore again for what the notes say already", async () => {
    const [world] = await worldWithGuest();
    await world.annotate();
    const asked = world.asked;
    expect(await world.annotate()).toMatchObject([{ outcome: "unchanged" }]);
    expect([world.qm.commands.length, world.asked]).toEqual([1, asked]);
  });

  it("brings back a block that is lost, and puts right one that tells of another key", async () => {
    const [world, uuid] = await worldWithGuest();
    await world.annotate();
    const { description = "" } = world.config(100).options;
    world.vm(100, DISK);
    await world.annotate();
    expect(world.config(100).options["description"]).toBe(description);
    world.write(
      `etc/pve/nodes/${NODE}/qemu-server/100.conf`,
      readFileSync(world.configPath(100), "utf8").replaceAll(uuid, "00000000-0000-4000-8000-000000000000"),
    );
    await world.annotate();
    expect(world.config(100).options["description"]).toBe(description);
  });

  it("forgets a disk that is gone, and the whole block with the last one", async () => {
    const [world, first] = await worldWithGuest({ efidisk0: "enc:vm-100-disk-1" });
    const second = await world.volume("vm-100-disk-1");
    await world.annotate();
    expect(world.config(100).options["description"]).toContain(lineOf(second, "efidisk0"));
    const text = readFileSync(world.configPath(100), "utf8");
    writeFileSync(world.configPath(100), text.replace(/^efidisk0: .*\n/m, ""));
    await world.annotate();
    expect(world.config(100).options["description"]).toContain(lineOf(first));
    expect(world.config(100).options["description"]).not.toContain("efidisk0");
    world.vm(100, { scsi0: "local:100/a.raw" });
    expect(await world.annotate()).toMatchObject([{ outcome: "unchanged", disks: [] }]);
  });

  it("keeps what it said about a disk whose header cannot be read now", async () => {
    const [world, uuid] = await worldWithGuest();
    await world.annotate();
    writeFileSync(world.path("vm-100-disk-0"), Buffer.alloc(4096));
    expect(await world.annotate()).toMatchObject([{ outcome: "unchanged", disks: [{ key: uuid }] }]);
  });

  it("tells only the key while no keystore knows it", async () => {
    const [other] = await worldWithGuest();
    const world = new AnnotatedWorld();
    writeFileSync(world.path("vm-100-disk-0"), readFileSync(other.path("vm-100-disk-0")));
    world.vm(100, DISK);
    const [guest] = await world.annotate();
    expect(guest?.disks).toEqual([{ disk: "scsi0", key: expect.any(String) as string }]);
    expect(world.config(100).options["description"]).toContain(`* scsi0: key ${guest?.disks[0]?.key ?? ""}`);
  });

  it("says what it would do in a dry run, and does nothing", async () => {
    const [world] = await worldWithGuest();
    const before = readFileSync(world.configPath(100));
    expect(await world.annotate([], { manner: "dry-run" })).toMatchObject([{ outcome: "found" }]);
    expect(readFileSync(world.configPath(100))).toEqual(before);
    expect(world.qm.commands).toEqual([]);
  });

  it("with proxmox.annotate switched off only takes its block and tag away", async () => {
    const [world] = await worldWithGuest({ tags: "x" });
    await world.annotate();
    Object.assign(world.settings, { proxmox: { annotate: false, keepFreedKeys: 30 } });
    await world.annotate();
    expect(world.config(100).options).toEqual({ ...DISK, tags: "x" });
    expect(await world.annotate()).toMatchObject([{ outcome: "unchanged" }]);
  });
});

describe("a configuration that others change", () => {
  it("is read again, until what was read is what qm finds", async () => {
    const [world, uuid] = await worldWithGuest();
    let changes = 0;
    world.qm.before = () => {
      changes += 1;
      if (changes <= 2) world.vm(100, { ...DISK, cores: String(changes) });
    };
    expect(await world.annotate()).toMatchObject([{ outcome: "changed" }]);
    expect(world.config(100).options).toMatchObject({ cores: "2", tags: "encrypted" });
    expect(world.config(100).options["description"]).toContain(lineOf(uuid));
    expect(world.qm.commands).toHaveLength(3);
  });

  it("all the time is left for the next run", async () => {
    const [world] = await worldWithGuest();
    let changes = 0;
    world.qm.before = () => world.vm(100, { ...DISK, cores: String((changes += 1)) });
    expect(await world.annotate()).toMatchObject([{ outcome: "left" }]);
    expect(world.config(100).options["tags"]).toBeUndefined();
  });

  it.each([
    ["locked for a backup", { lock: "backup" }, "", /locked it: backup/],
    ["that waits for pending changes", {}, "\n[PENDING]\ncores: 2\n", /pending changes/],
  ])("of a guest %s is left for the next run", async (_, options, more, why) => {
    const [world] = await worldWithGuest(options, more);
    const before = readFileSync(world.configPath(100));
    expect(await world.annotate()).toMatchObject([
      { outcome: "left", why: expect.stringMatching(why) as string },
    ]);
    expect(readFileSync(world.configPath(100))).toEqual(before);
  });

  it("and locks it in the moment before is left as well", async () => {
    const [world] = await worldWithGuest();
    const { digest } = world.config(100);
    world.qm.before = () => {
      const [command] = world.qm.commands;
      world.vm(100, { ...DISK, lock: "migrate" });
      // as if the lock came after the digest was compared
      (command?.args as string[])[(command?.args ?? []).indexOf(digest)] = world.config(100).digest;
    };
    expect(await world.annotate()).toMatchObject([
      { outcome: "left", why: expect.stringContaining("is locked (migrate)") as string },
    ]);
  });
});

it("guests of other nodes are left to these, and one that cannot be read hides no other", async () => {
  const [world] = await worldWithGuest();
  world.vm(101, { scsi0: "size=1G" });
  world.vm(200, DISK, { node: "pve2" });
  expect(await world.annotate()).toMatchObject([
    { vmid: "100", outcome: "changed" },
    { vmid: "101", outcome: "left", why: expect.stringContaining("names no volume") as string },
  ]);
  expect(await world.annotate(["200"])).toMatchObject([
    { vmid: "200", outcome: "left", why: expect.stringContaining("node pve2") as string },
  ]);
  await expect(world.annotate(["999"])).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
});

it("the fake of qm and the parser read every fixture in the same way", async () => {
  const world = new AnnotatedWorld();
  const qm = new FakeQmRunner(
    world.places,
    NODE,
    VMS.map(({ vmid }) => vmid),
  );
  for (const { vmid, name, file, config } of VMS) {
    if (config.options["lock"] !== undefined || name === "odd-lines" || name === "hostile-description")
      continue;
    world.write(`etc/pve/nodes/${NODE}/qemu-server/${vmid}.conf`, "");
    writeFileSync(world.configPath(Number(vmid)), file);
    await qm.run({ tool: "qm", args: ["set", vmid, "--tags", "same"] });
    const after = world.config(Number(vmid));
    expect({ ...after, digest: "" }, name).toEqual({
      ...{ ...config, digest: "" },
      options: { ...config.options, tags: "same" },
    });
  }
});
