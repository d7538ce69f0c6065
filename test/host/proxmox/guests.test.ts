import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import { findKeyUser } from "../../../src/plan/key-users.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { goneStart, ProxmoxWorld, startOf } from "./proxmox-world.js";

const ONE = { name: "web", scsi0: "enc:vm-100-disk-0,size=4M" };

/** A program that looks like the QEMU of a guest. */
function runAs(world: ProxmoxWorld, vmid: number, words: readonly string[]): void {
  const child = spawn("/bin/sh", ["-c", "sleep 60 & wait", ...words], { detached: true, stdio: "ignore" });
  onTestFinished(() => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  });
  world.write(`run/qemu-server/${vmid}.pid`, `${child.pid}\n`);
}

describe("guests of Proxmox VE", () => {
  it("are those of the cluster, and of them those of this node can run here", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, ONE);
    world.vm(101, {});
    world.vm(102, { name: "db" }, { node: "pve2" });
    runAs(world, 100, ["kvm", "-id", "100"]);
    runAs(world, 102, ["kvm", "-id", "102"]);
    expect(await world.host.listGuests()).toEqual([
      { id: "100", name: "web", running: true },
      { id: "101", name: "101", running: false },
      { id: "102", name: "db", running: false, elsewhere: true },
    ]);
  });

  it("do not run by a pid file that is left, or whose pid another program has", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, ONE);
    runAs(world, 100, ["kvm", "-id", "1000"]);
    expect(await world.host.listGuests()).toMatchObject([{ running: false }]);
    world.write("run/qemu-server/100.pid", "4194304\n");
    expect(await world.host.listGuests()).toMatchObject([{ running: false }]);
  });

  it("count as running from the moment when their start has begun", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, ONE);
    world.write(`run/luksmith/vm/100/${goneStart()}/scsi0`, "left");
    expect(await world.host.listGuests()).toMatchObject([{ running: false }]);
    world.write(`run/luksmith/vm/100/${startOf()}/scsi0`, "now");
    expect(await world.host.listGuests()).toMatchObject([{ running: true }]);
  });

  it("are found by VMID and name, and their keys by the headers of their volumes", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, { ...ONE, scsi1: "enc:vm-100-disk-1,size=4M" });
    world.vm(101, { name: "web2" });
    const uuid = await world.volume("vm-100-disk-0");
    for (const name of ["100", "web"]) {
      const guest = await world.host.readGuest(name);
      expect(guest).toMatchObject({ id: "100", name: "web", running: false, saved: false });
      expect(guest.disks.mapping["scsi0"]).toMatchObject({ encrypted: true, encryption_secret_uuid: uuid });
      // its volume is not there, which the guest's start is refused for
      expect(guest.disks.mapping["scsi1"]).toMatchObject({ encrypted: true });
      expect(guest.disks.mapping["scsi1"]).not.toHaveProperty("encryption_secret_uuid");
    }
    expect(await findKeyUser(world.host, uuid)).toMatchObject({ guest: "web", disk: "scsi0" });
    expect(await findKeyUser(world.host, newKeyUuid())).toBeUndefined();
  });

  it("are not found by a name that two have, nor by one that none has", async () => {
    const world = new ProxmoxWorld();
    world.vm(100, { name: "twin" });
    world.vm(101, { name: "twin" });
    await expect(world.host.readGuest("twin")).rejects.toMatchObject({
      code: "GUEST_NOT_FOUND",
      why: expect.stringContaining("100, 101") as string,
    });
    await expect(world.host.readGuest("102")).rejects.toMatchObject({ code: "GUEST_NOT_FOUND" });
  });

  it("cannot be told while the cluster's file system is away", () => {
    const world = new ProxmoxWorld();
    world.vm(100, ONE);
    rmSync(world.places.pve, { recursive: true });
    expect(() => world.event("pre-start", 100, ONE)).toThrow(
      expect.objectContaining({ code: "HOST_UNAVAILABLE" }),
    );
  });
});

describe("a VM that was hibernated", () => {
  const saved = (storage: string) => ({
    ...ONE,
    lock: "suspended",
    vmstate: `${storage}:vm-100-state-suspend`,
  });

  it("resumes from encrypted storage whatever the settings say about plaintext", async () => {
    const world = new ProxmoxWorld({ savedMemory: "refuse" });
    await world.volume("vm-100-disk-0");
    const event = world.event("pre-start", 100, saved("enc"), { start: startOf() });
    expect(event.cause).toBe("restore");
    expect(await world.handle(event)).toEqual(["provide-secrets"]);
  });

  it("is refused where its memory lies in plaintext and the settings refuse that", async () => {
    const world = new ProxmoxWorld({ savedMemory: "refuse" });
    await world.volume("vm-100-disk-0");
    const event = world.event("pre-start", 100, saved("local"), { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({
      code: "SAVED_MEMORY_REFUSED",
      hint: expect.stringContaining("qm set 100 --delete vmstate") as string,
    });
  });

  it("is warned of where the settings warn, also when it has been saved", async () => {
    const world = new ProxmoxWorld({ savedMemory: "warn" });
    await world.volume("vm-100-disk-0");
    await world.handle(world.event("pre-start", 100, saved("local"), { start: startOf() }));
    await world.handle(world.event("post-stop", 100, saved("local")));
    await world.handle(world.event("post-stop", 100, saved("enc")));
    expect(world.logger.warnings).toHaveLength(2);
    expect(JSON.stringify(world.logger.warnings)).toContain("local:vm-100-state-suspend");
  });

  it("cannot be made to look encrypted by lines in its description", async () => {
    const world = new ProxmoxWorld({ savedMemory: "refuse" });
    await world.volume("vm-100-disk-0");
    const config = { ...saved("local"), description: "x\nvmstate: enc:vm-100-state-suspend\n" };
    const event = world.event("pre-start", 100, config, { start: startOf() });
    await expect(world.handle(event)).rejects.toMatchObject({ code: "SAVED_MEMORY_REFUSED" });
  });
});

describe("a call of the hook", () => {
  it.each([
    ["another phase", { phase: "post-start" }],
    ["another guest's input", {}],
    ["no JSON", { stdin: "{" }],
    ["input of a later version", { stdin: '{"version":2,"vmid":100,"config":{}}' }],
    [
      "a start that leads out of its directory",
      { stdin: '{"version":1,"vmid":100,"config":{},"start":"../1-1-1"}' },
    ],
  ])(
    "with %s is refused",
    (
      _,
      {
        phase = "pre-start",
        stdin = '{"version":1,"vmid":101,"config":{}}',
      }: { phase?: string; stdin?: string },
    ) => {
      const world = new ProxmoxWorld();
      expect(() => world.host.parseEvent({ event: "pre-start", argv: ["100", phase], stdin })).toThrow(
        expect.objectContaining({ code: "EVENT_INVALID" }),
      );
    },
  );
});
