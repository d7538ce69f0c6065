import { mkdirSync, renameSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { markBase } from "../../../../src/host/proxmox/base/base-mark.js";
import { BridgeWorkshop } from "./bridge-workshop.js";

let workshop: BridgeWorkshop;
beforeEach(() => {
  workshop = new BridgeWorkshop();
});
afterEach(() => workshop[Symbol.dispose]());

/** Leaves the mountpoint, empty, as an unmounted file system does. */
function unmount(): void {
  renameSync(workshop.directory, `${workshop.directory}.away`);
  mkdirSync(workshop.directory, { mode: 0o700 });
}

it.each(["unmarked", "marked"])(
  "does not give away the name of a volume whose base is away: %s",
  async (kind) => {
    const { uuid = "" } = await workshop.create();
    unmount();
    if (kind === "marked") markBase(workshop.directory);
    const failure = await workshop.create().catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({
      code: "VOLUME_EXISTS",
      hint: expect.stringContaining(`luksmith keys delete ${uuid}`) as string,
    });
    expect(await workshop.base.list()).toEqual([]);
    expect(await workshop.keys()).toMatchObject([{ uuid }]);
    rmSync(workshop.directory, { recursive: true });
    renameSync(`${workshop.directory}.away`, workshop.directory);
    await workshop.provide();
  },
);

it("gives it away where the volume was destroyed, or is gone from a base that is there", async () => {
  await workshop.create();
  await workshop.free();
  await workshop.create();
  await workshop.create("vm-100-disk-1");
  rmSync(`${workshop.directory}/vm-100-disk-0.luks`);
  await workshop.create();
  expect(await workshop.base.list()).toHaveLength(2);
});
