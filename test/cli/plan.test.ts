import { describe, expect, it } from "vitest";
import validate from "../../src/generated/validate-plan.cjs";
import { planArrival } from "../../src/migration/plan-arrival.js";
import { planGrow } from "../../src/plan/plan-grow.js";
import { planClosing, planWithdrawal } from "../../src/plan/plan-post-stop.js";
import { planPreStart } from "../../src/plan/plan-pre-start.js";
import { planProtect } from "../../src/plan/plan-protect.js";
import type { Plan, Step } from "../../src/plan/step.js";
import type { Volume } from "../../src/storage/volume.js";
import {
  claim,
  disk,
  guestWith,
  header,
  known,
  mapped,
  NOW,
  request,
  unknown,
  uuid,
} from "../plan/builders.js";

const GUEST = guestWith(disk("vda", 1));

/** Plans that have a step of every kind between them, as the planners make them. */
const PLANS: readonly Plan[] = [
  planPreStart(
    GUEST,
    [unknown("vda", 1, request("vda"), { kind: "empty" }), known("vdb", 2, "pending", { kind: "empty" })],
    NOW,
  ),
  planProtect(
    GUEST,
    [
      {
        ...{ disk: disk("vda"), request: request("vda"), probe: { kind: "empty" } },
        ...{ known: undefined, forbidden: undefined, provider: "native" },
      },
    ],
    {
      format: "now",
      now: NOW,
      newUuid: () => uuid(50),
    },
  ),
  planGrow(
    GUEST,
    {
      disk: known("vda", 1, "active", { kind: "luks", header: header(1) }),
      guest: "running",
      sizes: { volume: 1024n, guest: 1024n, extent: 512n },
    },
    { kind: "total", bytes: 4096n },
  ),
  planPreStart(GUEST, [mapped("vdc", 3, "active", { kind: "luks", header: header(3) })], NOW),
  planArrival(
    GUEST,
    [unknown("vda", 1, request("vda"), { kind: "empty" })],
    [{ disk: "vda", from: { disk: "vda", uuid: uuid(2) }, to: { disk: "vda", uuid: uuid(1) } }],
    NOW,
  ),
  planWithdrawal([{ disk: "vda", uuid: uuid(1), guestId: GUEST.id }]),
  ...planClosing(GUEST, [claim("vdc", 3)]),
];

const MEMBERS = {
  "store-key": ["keystore", "record"],
  format: ["disk", "volume", "record"],
  "activate-key": ["keystore", "record"],
  annotate: ["blocks"],
  grow: ["disk", "volume", "uuid", "guest", "from", "to"],
  "provide-secrets": ["secrets"],
  "withdraw-secrets": ["secrets"],
  "open-mapping": ["disk", "uuid", "mapping", "volume", "encryption"],
  "close-mapping": ["disk", "mapping"],
  "note-arrival": ["copies"],
  "answer-configuration": ["copies"],
} as const satisfies Record<Exclude<Step["kind"], OfCommands>, readonly string[]>;

/** What no event does. */
type OfCommands = "add-disk" | "remove-disk" | "attach-disk" | "detach-disk";

const outputOf = (stages: unknown): unknown => ({
  event: "pre-start",
  guest: { id: GUEST.id, name: GUEST.name },
  stages,
});
const steps = PLANS.flatMap(({ stages }) => stages.flat());

describe("the schema of a plan", () => {
  it("takes what the planners make", () => {
    expect(new Set(steps.map(({ kind }) => kind))).toEqual(new Set(Object.keys(MEMBERS)));
    for (const { stages } of PLANS)
      expect([validate(outputOf(stages)), validate.errors]).toEqual([true, null]);
  });

  it.each(Object.entries(MEMBERS))("takes %s with its own members only", (kind, members) => {
    const step = steps.find((candidate) => candidate.kind === kind)!;
    expect(validate(outputOf([[step]]))).toBe(true);
    expect(validate(outputOf([[{ ...step, more: 1 }]]))).toBe(false);
    for (const member of members) {
      const without = Object.fromEntries(Object.entries(step).filter(([name]) => name !== member));
      expect(validate(outputOf([[without]]))).toBe(false);
    }
  });

  it.each([
    { kind: "file", path: "/srv/vm/a.img", format: "qcow2" },
    { kind: "block", path: "/dev/vg/a", format: "raw" },
    { kind: "rbd", pool: "vms", image: "a", format: "raw" },
    {
      kind: "rbd",
      pool: "vms",
      namespace: "n",
      image: "a",
      format: "raw",
      user: "u",
      conf: "/c",
      monitors: ["m:1"],
    },
  ] satisfies Volume[])("takes the volume %j", (volume) => {
    const format = { ...steps.find(({ kind }) => kind === "format")!, volume };
    expect([validate(outputOf([[format]])), validate.errors]).toEqual([true, null]);
    expect(validate(outputOf([[{ ...format, volume: { ...volume, more: 1 } }]]))).toBe(false);
  });

  it.each([{}, { kind: "resize" }, { kind: "format" }])("takes no step of another kind: %j", (step) => {
    expect(validate(outputOf([[step]]))).toBe(false);
  });
});
