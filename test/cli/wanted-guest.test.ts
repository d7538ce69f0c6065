import { afterEach, expect, it, vi } from "vitest";
import { wantedGuest } from "../../src/cli/wanted-guest.js";
import { ProxmoxWorld } from "../host/proxmox/proxmox-world.js";

afterEach(() => vi.restoreAllMocks());

it("knows a guest by the name of today and by its id, with the keys of its disks", async () => {
  const world = new ProxmoxWorld();
  const key = await world.volume("vm-100-disk-0");
  world.vm(100, { name: "renamed", scsi0: "enc:vm-100-disk-0,size=4M", scsi1: "enc:vm-100-disk-9,size=4M" });
  const known = { id: "100", uses: [key] };
  for (const called of ["renamed", "100"])
    expect(await wantedGuest(world.container, called)).toEqual({ called, known });
  expect(await wantedGuest(world.container, "vm")).toEqual({ called: "vm" });
});

it("does not choose between guests of one name", async () => {
  const world = new ProxmoxWorld();
  world.vm(100, { name: "twin" });
  world.vm(101, { name: "twin" });
  await expect(wantedGuest(world.container, "twin")).rejects.toMatchObject({
    code: "GUEST_NOT_FOUND",
    hint: "use the id: 100, 101",
  });
});

it("says that the host cannot tell", async () => {
  const world = new ProxmoxWorld();
  world.vm(100, { name: "web", scsi0: "enc:vm-100-disk-0,size=4M" });
  vi.spyOn(world.host, "listGuests").mockRejectedValue(new Error("away"));
  const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  expect(await wantedGuest(world.container, "web")).toEqual({ called: "web" });
  expect(said.mock.calls.map(([text]) => text)).toEqual([expect.stringContaining("the host cannot tell")]);
});
