import { describe, expect, it } from "vitest";
import { LibvirtDisks } from "../../../src/host/libvirt/disks.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { RecordingRunner } from "./recording-runner.js";

const GUEST = { id: "037ee078-878a-4acb-8b89-10264c853ff0", name: "web1" };
const info = (capacity: number | string) => ({
  stdout: `Capacity:       ${capacity}\nAllocation:     262144\nPhysical:       8388608\n`,
});

function disksOn(...answers: ConstructorParameters<typeof RecordingRunner>) {
  const runner = new RecordingRunner(...answers);
  return { runner, disks: new LibvirtDisks(new Virsh("qemu:///system", runner)) };
}

describe("the size of a running guest's disk", () => {
  it("is what QEMU gives the guest, not what the volume has", async () => {
    const { runner, disks } = disksOn(info(6291456));
    expect(await disks.size(GUEST, "vda")).toBe(6291456n);
    expect(runner.scripts).toEqual([`domblkinfo --domain ${GUEST.id} --device vda`]);
  });

  it.each([info("-"), { exitCode: 1, stderr: "error: invalid argument: invalid path vda\n" }])(
    "is not made up",
    async (answer) => {
      await expect(disksOn(answer).disks.size(GUEST, "vda")).rejects.toMatchObject({ code: "TOOL_FAILED" });
    },
  );
});

describe("resizing a running guest's disk", () => {
  const bytes = 10_486_272n;

  it("says bytes, and looks what came of it", async () => {
    const { runner, disks } = disksOn(info(10_486_272));
    await disks.resize(GUEST, "vda", bytes);
    expect(runner.scripts).toEqual([
      `blockresize --domain ${GUEST.id} --path vda --size 10486272B; domblkinfo --domain ${GUEST.id} --device vda`,
    ]);
  });

  it.each([
    ["libvirt refuses", { ...info(10_486_272), stderr: "error: Failed to resize block device 'vda'\n" }],
    ["the guest sees less", info(10_485_760)],
    ["nobody can tell", {}],
  ])("fails when %s", async (_, answer) => {
    await expect(disksOn(answer).disks.resize(GUEST, "vda", bytes)).rejects.toMatchObject({
      code: "VOLUME_GROW_FAILED",
      hint: expect.stringContaining("again") as string,
    });
  });

  it("is content with more, which a block device can have", async () => {
    await disksOn(info(10_486_784)).disks.resize(GUEST, "vda", bytes);
  });

  it("waits for minutes: QEMU may have much to write", async () => {
    const { runner, disks } = disksOn(info(10_486_272));
    await disks.resize(GUEST, "vda", bytes);
    expect(runner.commands[0]?.timeout).toBeGreaterThan(60_000);
  });
});
