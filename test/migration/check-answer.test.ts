import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import type { Guest, LifecycleEvent } from "../../src/host/host-adapter.js";
import { checkAnswer } from "../../src/migration/check-answer.js";
import { EventWorld } from "../event/event-world.js";

const check = (guest: Guest): LifecycleEvent => ({ event: "pre-migrate", cause: "check", guest });

it("tells for each disk what it would be here, and changes nothing", async () => {
  const world = new EventWorld();
  const disks = world.disks("vda", "vdb");
  const [vda, vdb] = disks;
  const guest = world.guest(disks);
  await world.startOnce(world.withId(world.guest([vda!]), guest.id), [vda!]);
  const answer = await checkAnswer(world.container, check(guest));
  expect(answer).toMatchObject({ version: expect.stringMatching(/^\d/) as string });
  expect(answer.problem).toBeUndefined();
  expect(answer.disks).toMatchObject([
    { device: "vda", volume: vda!.path, key: vda!.uuid, openedBy: "native", content: "same" },
    { device: "vdb", volume: vdb!.path, openedBy: "native", content: "copied" },
  ]);
  expect(answer.disks[1]!.key).not.toBe(vdb!.uuid);
  expect([world.arrivals.list(), world.host.passphrases.size, await world.states()]).toEqual([
    [],
    0,
    ["active"],
  ]);
});

it("tells why not", async () => {
  const world = new EventWorld();
  const disks = world.disks("vda");
  writeFileSync(disks[0]!.path, "data".repeat(1024));
  expect(await checkAnswer(world.container, check(world.guest(disks)))).toMatchObject({
    problem: {
      code: "VOLUME_NOT_EMPTY",
      what: expect.stringContaining("cannot take over guest web1") as string,
      why: expect.any(String) as string,
      hint: expect.any(String) as string,
    },
    disks: [],
  });
});
