import { describe, expect, it } from "vitest";
import type { DiskMapping } from "../../src/disk-info/disk-info.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { ProvidedSecret } from "../../src/host/host-adapter.js";
import { type DetachFacts, type DetachScope, planDetach } from "../../src/plan/plan-detach.js";
import { renderStep } from "../../src/plan/render.js";
import type { Step } from "../../src/plan/step.js";
import { claim, disk, guestWith, mapped, uuid } from "./builders.js";

const GUEST = guestWith(disk("vda", 1), disk("vdb", 2));

function provided(dev: string, n: number): ProvidedSecret {
  return { disk: dev, uuid: uuid(n), guestId: GUEST.id };
}

interface World {
  readonly running?: readonly DiskMapping[];
  readonly configured?: DiskMapping;
  readonly secrets?: readonly ProvidedSecret[];
  readonly claims?: DetachFacts["claims"];
  readonly configuredIsOther?: boolean;
}

/** Of disk vdb. */
function facts({
  running,
  configured,
  secrets = [],
  claims = [],
  configuredIsOther = false,
}: World): DetachFacts {
  return {
    ...{ disk: "vdb", configured, configuredIsOther, provided: secrets, claims },
    running: running && guestWith(...running),
  };
}

const NATIVE: World = {
  running: [disk("vda", 1), disk("vdb", 2)],
  configured: disk("vdb", 2),
  secrets: [provided("vda", 1), provided("vdb", 2)],
};
const MAPPING = claim("vdb", 2);
const MAPPED_DISK = mapped("vdb", 2, "active", undefined).disk;
const MAPPED: World = { running: [disk("vda", 1), MAPPED_DISK], configured: MAPPED_DISK, claims: [MAPPING] };

function steps(world: World, scope: DetachScope = "everywhere"): Step[] {
  return planDetach(GUEST, facts(world), scope).stages.flat();
}
const kinds = (world: World, scope?: DetachScope) => steps(world, scope).map(({ kind }) => kind);
const closing = { kind: "close-mapping", disk: "vdb", mapping: MAPPING.name };

function refusal(world: World, scope?: DetachScope): LuksmithError {
  try {
    steps(world, scope);
  } catch (thrown) {
    if (thrown instanceof LuksmithError) return thrown;
    throw thrown;
  }
  throw new Error("nothing was refused");
}

describe("detach", () => {
  it.each<[string, World]>([
    ["native", NATIVE],
    ["mapped", MAPPED],
  ])(
    "takes the disk from the guest, then what opened it, then the configuration: %s",
    async (name, world) => {
      const text = `${steps(world).map(renderStep).join("\n")}\n`;
      await expect(text).toMatchFileSnapshot(`../golden/plans/detach-${name}.txt`);
    },
  );

  it("leaves the configuration alone with --live", () => {
    expect(kinds(NATIVE, "live")).toEqual(["detach-disk", "withdraw-secrets"]);
    expect(kinds(MAPPED, "live")).toEqual(["detach-disk", "close-mapping"]);
  });

  it("changes only the configuration of a guest that is shut off", () => {
    expect(kinds({ configured: disk("vdb", 2) })).toEqual(["remove-disk"]);
    expect(kinds({ configured: MAPPED_DISK })).toEqual(["remove-disk"]);
  });

  it("has nothing to take away for a disk without secret and mapping", () => {
    expect(kinds({ running: [disk("vda", 1), disk("vdb")], configured: disk("vdb") })).toEqual([
      ...["detach-disk", "remove-disk"],
    ]);
  });

  it("leaves the other disk that the configuration has by this name", () => {
    expect(kinds({ ...NATIVE, configuredIsOther: true })).toEqual(["detach-disk", "withdraw-secrets"]);
  });

  it.each<[after: string, World, DetachScope, string[]]>([
    [
      "the guest let go of a native one",
      { ...NATIVE, running: [disk("vda", 1)] },
      "everywhere",
      ["withdraw-secrets", "remove-disk"],
    ],
    [
      "the guest let go of a mapped one",
      { ...MAPPED, running: [disk("vda", 1)] },
      "everywhere",
      ["close-mapping", "remove-disk"],
    ],
    ["the secret was withdrawn", { running: [], configured: disk("vdb", 2) }, "everywhere", ["remove-disk"]],
    ["the guest let go, with --live", { ...NATIVE, running: [disk("vda", 1)] }, "live", ["withdraw-secrets"]],
    ["all was done, with --live", { running: [], configured: disk("vdb", 2) }, "live", []],
    [
      "all was done but for a mapping that was busy",
      { running: [], claims: [MAPPING] },
      "everywhere",
      ["close-mapping"],
    ],
  ])("goes on after %s", (_, world, scope, expected) => {
    expect(kinds(world, scope)).toEqual(expected);
  });

  it("asks the running configuration who decrypts, not the one that was changed since", () => {
    expect(kinds({ ...NATIVE, configured: MAPPED_DISK, claims: [MAPPING] })).not.toContain("close-mapping");
    expect(steps({ ...MAPPED, configured: disk("vdb", 2) })).toContainEqual(closing);
  });

  it("closes the mapping of a running configuration that does not tell what lies under it", () => {
    const bare = disk("vdb", undefined, {
      volume: { kind: "block", path: `/dev/mapper/${MAPPING.name}`, format: "raw" },
    });
    expect(steps({ running: [bare], configured: MAPPED_DISK, claims: [MAPPING] })).toContainEqual(closing);
    const claimedForAnother = { ...MAPPING, disk: "vdc" };
    expect(steps({ running: [bare], configured: MAPPED_DISK, claims: [claimedForAnother] })).toContainEqual(
      closing,
    );
  });

  it("closes no mapping that is not ours", () => {
    const foreign = disk("vdb", undefined, {
      volume: { kind: "block", path: "/dev/mapper/vg-data", format: "raw" },
    });
    expect(kinds({ running: [foreign], configured: foreign, claims: [claim("vda", 1)] })).toEqual([
      ...["detach-disk", "remove-disk"],
    ]);
  });

  it("closes no mapping that another disk of the guest has", () => {
    const twin = { ...MAPPED_DISK, dev: "vdc" };
    expect(kinds({ ...MAPPED, running: [MAPPED_DISK, twin] })).toEqual(["detach-disk", "remove-disk"]);
  });

  it("withdraws the secret of a base with the last disk over it", () => {
    const secrets = [provided("vdb", 2), provided("vdb", 8)];
    const overlay = (dev: string, n: number) => disk(dev, n, { backingSecretUuids: [uuid(8)] });
    const alone = { running: [disk("vda", 1), overlay("vdb", 2)], configured: overlay("vdb", 2), secrets };
    const withdrawn = (world: World) =>
      steps(world).flatMap((step) => (step.kind === "withdraw-secrets" ? step.secrets : []));
    expect(withdrawn(alone).map((key) => key.uuid)).toEqual([uuid(2), uuid(8)]);
    expect(withdrawn({ ...alone, running: [overlay("vda", 1), overlay("vdb", 2)] })).toEqual([
      { disk: "vdb", uuid: uuid(2) },
    ]);
    expect(withdrawn({ ...alone, secrets: [...secrets, provided("vda", 8)] })).toHaveLength(1);
  });

  it("withdraws a secret that was provided under another device name", () => {
    expect(steps({ ...NATIVE, secrets: [provided("vda", 1), provided("vdz", 2)] })).toContainEqual({
      kind: "withdraw-secrets",
      secrets: [{ disk: "vdb", uuid: uuid(2) }],
    });
  });

  it.each<[string, World, DetachScope, string, RegExp]>([
    ["a disk that is nowhere", { running: [disk("vda", 1)] }, "everywhere", "DISK_NOT_FOUND", /it has vda/],
    [
      "--live of a guest that is shut off",
      { configured: disk("vdb", 2) },
      "live",
      "GUEST_NOT_RUNNING",
      /--live/,
    ],
    [
      "to forget how a plain volume is opened",
      { configured: mapped("vdb", 2, "active", undefined, "plain").disk },
      "everywhere",
      "VOLUME_UNSUPPORTED",
      /luksmith convert web1 vdb; or take .* out with virsh edit web1/,
    ],
    [
      "the same while the guest runs, and has another way then",
      {
        running: [mapped("vdb", 2, "active", undefined, "plain").disk],
        configured: mapped("vdb", 2, "active", undefined, "plain").disk,
      },
      "everywhere",
      "VOLUME_UNSUPPORTED",
      /with --live, or shut the guest down and convert it: luksmith convert web1 vdb$/,
    ],
  ])("refuses %s", (_, world, scope, code, hint) => {
    expect(refusal(world, scope)).toMatchObject({ code, hint: expect.stringMatching(hint) as string });
  });

  it.each(["constructor", "__proto__", "vdb\n; ls"])("takes %j for no disk", (dev) => {
    const wanted = { ...facts({ running: [disk("vda", 1)] }), disk: dev };
    expect(() => planDetach(GUEST, wanted, "everywhere")).toThrow(
      expect.objectContaining({ code: "DISK_NOT_FOUND" }) as Error,
    );
  });
});
