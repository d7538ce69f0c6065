import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { defaultTarget } from "../../../src/convert/default-target.js";
import { gatherOnlineFacts } from "../../../src/convert/online/gather-online.js";
import { OnlineConversion } from "../../../src/convert/online/online-conversion.js";
import { planOnline } from "../../../src/convert/online/plan-online.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { KeySession } from "../../../src/plan/key-session.js";
import { request } from "../../plan/builders.js";
import { ConvertWorld } from "../convert-world.js";
import { FakeMirror, stopped, unanswered } from "./fake-mirror.js";

const MIB = 1024 * 1024;

let world: ConvertWorld;
let mirror: FakeMirror;

beforeEach(() => {
  world = new ConvertWorld("raw");
  writeFileSync(world.volume.path, "");
  truncateSync(world.volume.path, 8 * MIB);
  world.host.running = true;
  world.host.diskSize = () => Promise.resolve(BigInt(8 * MIB));
  mirror = new FakeMirror(world);
});
afterEach(() => world[Symbol.dispose]());

/** As `convertOnline`, with this world's ports. */
async function convert(to: "encrypted" | "plain" = "encrypted"): Promise<string> {
  const { runner, notes, host, watcher } = world;
  const guest = await host.readGuest();
  const disk = await world.disk();
  using session = new KeySession();
  const goal =
    to === "plain" ? ({ to } as const) : ({ to, request: request("vda"), engine: "native" } as const);
  const target = { volume: defaultTarget(disk, to), isNamed: false };
  const resources = world.resources();
  const sources = { ...resources, mirror, runner, notes };
  const facts = await gatherOnlineFacts({ guest, disk, goal, target }, sources, session);
  const now = new Date();
  const plan = planOnline(facts, { dev: "vda", goal, now, newUuid: newKeyUuid });
  const ports = { mirror, resources, session, runner, notes, watcher, now };
  return await world.failure(new OnlineConversion(plan, ports).run());
}

const fresh = () => world.at("vm/web1.luks.raw");
const keyStates = async () => (await world.keystore.list()).map(({ state }) => state);

test("the guest gets the new volume; that it begins is recorded before", async () => {
  const details = () =>
    world.audit.uses.filter(({ event }) => event === "convert").map(({ detail }) => detail);
  let before: unknown;
  mirror.completing = async (target) => {
    before = details();
    await mirror.give(target);
  };
  expect(await convert()).toBe("none");
  const what = `from ${world.volume.path}, while the guest runs`;
  expect([before, details()]).toEqual([[`begins, ${what}`], [`begins, ${what}`, what]]);
  expect(await world.path()).toBe(fresh());
  expect(await keyStates()).toEqual(["active"]);
});

describe("once the guest may have its new volume, that is kept", () => {
  test("where the guest stops right after it got it", async () => {
    mirror.completing = async (target) => {
      await mirror.give(target);
      writeFileSync(fresh(), "what the guest wrote since", { flag: "r+" });
      world.host.running = false;
      throw stopped();
    };
    expect(await convert()).toBe("none");
    expect(await world.path()).toBe(fresh());
    expect(readFileSync(fresh()).toString("utf8", 0, 26)).toBe("what the guest wrote since");
    expect(await keyStates()).toEqual(["active"]);
    expect(world.notes.of(await world.host.readGuest())).toMatchObject([{ state: "verified" }]);
  });

  test("where libvirt answers too late, and gives it while the copy is to be ended", async () => {
    mirror.completing = () => Promise.reject(unanswered());
    mirror.cancelling = (target) => mirror.give(target);
    expect(await convert()).toBe("CONVERT_FAILED");
    expect(await world.path()).toBe(fresh());
    expect(existsSync(fresh())).toBe(true);
    expect(await keyStates()).toEqual(["pending"]);
    expect(await world.host.providedSecrets()).toHaveLength(1);
  });

  test("where nobody can tell what the guest is configured with", async () => {
    const readGuest = world.host.readGuest.bind(world.host);
    mirror.completing = () => {
      world.host.running = false;
      world.host.readGuest = () => Promise.reject(new Error("libvirt is away"));
      return Promise.reject(stopped());
    };
    await convert();
    world.host.readGuest = readGuest;
    expect(existsSync(fresh())).toBe(true);
    expect(await keyStates()).toEqual(["pending"]);
  });

  test("where the running guest and its configuration have different ones", async () => {
    mirror.completing = async (target) => {
      world.host.live = world.host.xml;
      await mirror.give(target);
      throw unanswered();
    };
    expect(await convert()).toBe("CONVERT_FAILED");
    expect(existsSync(fresh())).toBe(true);
    expect(await keyStates()).toEqual(["pending"]);
  });

  test("where it is a plain one", async () => {
    expect(await convert()).toBe("none");
    mirror.completing = async (target) => {
      world.host.xml = world.host.xml.replace(/<encryption.*<\/encryption>/s, "");
      await mirror.give(target);
      world.host.running = false;
      throw stopped();
    };
    expect(await convert("plain")).toBe("none");
    expect(await world.path()).toBe(world.at("vm/web1.plain.raw"));
    expect(existsSync(await world.path())).toBe(true);
  });
});

describe("what was made is taken away", () => {
  afterEach(async () => {
    expect(await world.path()).toBe(world.volume.path);
    expect(existsSync(fresh())).toBe(false);
    // the next call takes it
    expect(await keyStates()).toEqual(["pending"]);
    expect(await world.host.providedSecrets()).toEqual([]);
    expect(world.notes.of(await world.host.readGuest())).toEqual([]);
    expect(mirror.job).toBeUndefined();
  });

  test("where libvirt does not begin to copy", async () => {
    mirror.starting = () => Promise.reject(unanswered());
    expect(await convert()).toBe("CONVERT_FAILED");
  });

  test("where the copy cannot be given to the guest, which keeps its old volume", async () => {
    mirror.completing = () => Promise.reject(unanswered());
    expect(await convert()).toBe("CONVERT_FAILED");
  });

  test("where the guest stops before that", async () => {
    mirror.completing = () => {
      [world.host.running, mirror.job] = [false, undefined];
      return Promise.reject(stopped());
    };
    expect(await convert()).toBe("GUEST_NOT_RUNNING");
  });
});

test("a copy that begins although libvirt did not answer is ended before its volume is removed", async () => {
  let endedBefore: boolean | undefined;
  const start = mirror.start.bind(mirror);
  mirror.start = async (...given) => {
    await start(...given);
    throw unanswered();
  };
  mirror.cancelling = () => {
    endedBefore = existsSync(fresh());
    return Promise.resolve();
  };
  expect(await convert()).toBe("CONVERT_FAILED");
  expect([endedBefore, existsSync(fresh())]).toEqual([true, false]);
});
