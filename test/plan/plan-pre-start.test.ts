import { describe, expect, it } from "vitest";
import { GUEST, luks, planFor, refusal, text } from "./pre-start-plans.js";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { planPreStart } from "../../src/plan/plan-pre-start.js";
import type { Plan } from "../../src/plan/step.js";
import type { AnnotatedDisk } from "../../src/plan/facts.js";
import { planProvide, planReconnect } from "../../src/plan/plan-provide.js";
import { otherKeyHint } from "../../src/plan/volume-content.js";
import { header, known, NOW, over, plain, record, request, unknown, uuid } from "./builders.js";

/** A disk that names a key of the record, where the key was made for something else. */
function recordedFor(
  other: Partial<KeyRecord>,
  probe: AnnotatedDisk["probe"],
  state: KeyRecord["state"] = "pending",
): AnnotatedDisk {
  const key = { kind: "found", keystore: "local", record: { ...record(1, "vda", state), ...other } } as const;
  return { ...known("vda", 1, state, probe), key };
}

const ELSEWHERE = { volume: "/srv/old.img" };
const CLONED = { guest: { id: "99999999-2222-4333-8444-555555555555", name: "c1" } };
const DOWN = new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "keystore local does not answer" });

describe("what a start does", () => {
  it("leaves a guest alone that nobody asks for", () => {
    expect(planFor(plain("vda"), plain("vdb")).stages).toEqual([]);
  });

  it("provides the passphrases of active disks in one step", async () => {
    const plan = planFor(known("vda", 1, "active", luks(1)), known("vdb", 2, "active", luks(2)));
    await expect(text(plan)).toMatchFileSnapshot("../golden/plans/active.txt");
  });

  it("formats what is pending, side by side, before it provides anything", async () => {
    const plan = planFor(known("vda", 1, "pending", { kind: "empty" }), known("vdb", 2, "active", luks(2)));
    await expect(text(plan)).toMatchFileSnapshot("../golden/plans/pending.txt");
  });

  it("goes on with a format that was cut short after the header was written", () => {
    const plan = planFor(known("vda", 1, "pending", luks(1)));
    expect(plan.stages.flat().map((step) => step.kind)).toEqual([
      "format",
      "activate-key",
      "provide-secrets",
    ]);
  });

  it("goes on with a format whose header a power cut tore", () => {
    const torn = {
      kind: "bad-luks",
      reason: "keyslot 3 is neither active nor inactive",
      claimedUuid: uuid(1),
    } as const;
    const plan = planFor(known("vda", 1, "pending", torn));
    expect(plan.stages.flat().map((step) => step.kind)).toContain("format");
    const another = { ...torn, claimedUuid: uuid(2) };
    expect(refusal(known("vda", 1, "pending", another)).code).toBe("LUKS_HEADER_INVALID");
  });

  it("lets the format step read a thick volume that is pending", () => {
    const plan = planFor(known("vda", 1, "pending", { kind: "allocated" }));
    expect(plan.stages.flat().map((step) => step.kind)).toContain("format");
  });

  it("adopts a disk that is asked for and proven empty: makes a key under its secret UUID", async () => {
    const plan = planFor(unknown("vda", 7, request("vda"), { kind: "empty" }));
    await expect(text(plan)).toMatchFileSnapshot("../golden/plans/adoption.txt");
    expect(plan.stages[0]?.[0]).toMatchObject({
      kind: "store-key",
      keystore: "local",
      record: { uuid: uuid(7), state: "pending", createdAt: NOW.toISOString() },
    });
  });

  it("never touches an encryption block that nobody asked for and no keystore knows", () => {
    expect(planFor(unknown("vda", 9, undefined, undefined)).stages).toEqual([]);
  });
});

describe("a pending key", () => {
  const torn = { kind: "bad-luks", reason: "torn", claimedUuid: uuid(1) } as const;
  const kinds = (plan: Plan) => plan.stages.flat().map(({ kind }) => kind);

  it.each([
    ["another guest", CLONED, "virsh edit"],
    ["another volume", ELSEWHERE, "luksmith protect web1 --disk vda --now"],
  ])("of %s formats nothing here, be it empty, thick or a torn header of its own", (_, other, hint) => {
    for (const probe of [{ kind: "empty" }, { kind: "allocated" }, torn] as const) {
      const error = refusal(recordedFor(other, probe));
      expect(error.code).toBe("KEY_IN_USE");
      expect(error.hint).toContain(hint);
    }
  });

  it("follows a disk that was given another device name", () => {
    expect(kinds(planFor(recordedFor({ disk: "sdb" }, { kind: "empty" })))).toContain("format");
  });

  it("of a volume that was moved with its header goes on, and its record stays what it is", () => {
    const { stages } = planFor(recordedFor(ELSEWHERE, luks(1)));
    const activate = stages.flat().find((step) => step.kind === "activate-key");
    expect(activate?.record.volume).toBe(ELSEWHERE.volume);
  });

  it("of another guest, whose volume has its header, is used without a format", () => {
    expect(kinds(planFor(recordedFor(CLONED, luks(1))))).toEqual(["activate-key", "provide-secrets"]);
  });

  it("says nothing about an active one: a guest that was defined anew starts", () => {
    expect(kinds(planFor(recordedFor(CLONED, luks(1), "active")))).toEqual(["provide-secrets"]);
  });
});

describe("a disk over an encrypted base", () => {
  const found = (state: KeyRecord["state"] = "active", other: Partial<KeyRecord> = {}) =>
    ({ kind: "found", keystore: "local", record: { ...record(9, "vda", state), ...other } }) as const;
  const overlay = (dev: string, n: number) => known(dev, n, "active", luks(n));

  it("gets both passphrases, and several disks over one base share its own", async () => {
    const plan = planFor(over(overlay("vda", 1), 9, found()), over(overlay("vdb", 2), 9, found()));
    await expect(text(plan)).toMatchFileSnapshot("../golden/plans/overlays.txt");
    expect(plan.stages.flat()).toEqual([
      {
        kind: "provide-secrets",
        secrets: [
          { disk: "vda", uuid: uuid(1) },
          { disk: "vda", uuid: uuid(9), opens: "base" },
          { disk: "vdb", uuid: uuid(2) },
          { disk: "vdb", uuid: uuid(9), opens: "base" },
        ],
      },
    ]);
  });

  it("is formatted if it is new, and its base is not, whatever its record says", () => {
    const bases = [found(), found("pending"), found("pending", CLONED), found("active", CLONED)];
    for (const base of bases) {
      const plan = planFor(over(known("vda", 1, "pending", { kind: "empty" }), 9, base));
      const steps = plan.stages.flat();
      expect(steps.map((step) => step.kind)).toEqual(["format", "activate-key", "provide-secrets"]);
      expect(steps.flatMap((step) => ("record" in step ? step.record.uuid : []))).toEqual([uuid(1), uuid(1)]);
    }
  });

  it("may have a base that is another disk of the guest", () => {
    const plan = planFor(over(overlay("vda", 1), 9, found()), overlay("vdb", 9));
    expect(plan.stages.flat().map((step) => step.kind)).toEqual(["provide-secrets"]);
  });

  it("is refused while the keystore of the base's key does not answer", () => {
    const error = refusal(over(overlay("vda", 1), 9, { kind: "unavailable", error: DOWN }));
    expect(error.code).toBe("KEYSTORE_UNAVAILABLE");
    expect(error.message).toContain(`disk vda lies over a volume that is encrypted under key ${uuid(9)}`);
  });

  it("is refused if it is asked for and no keystore has the base's key", () => {
    const asked = { ...overlay("vda", 1), request: request("vda") };
    const { code, message } = refusal(over(asked, 9, { kind: "unknown" }));
    expect(code).toBe("KEY_NOT_FOUND");
    expect(message).toContain(uuid(9));
  });

  it("is left to the host if nobody asks for it: the base may be an administrator's own", () => {
    const plan = planFor(over(overlay("vda", 1), 9, { kind: "unknown" }));
    expect(plan.stages.flat()).toEqual([
      { kind: "provide-secrets", secrets: [{ disk: "vda", uuid: uuid(1) }] },
    ]);
  });

  it("of a foreign key is left alone with its base", () => {
    expect(planFor(over(unknown("vda", 1, undefined, undefined), 9, found())).stages).toEqual([]);
  });

  it("gets both passphrases when its guest is restored or migrated here", () => {
    const plan = planProvide(GUEST, [over(overlay("vda", 1), 9, found())], NOW);
    expect(plan.stages.flat()).toMatchObject([{ kind: "provide-secrets", secrets: { length: 2 } }]);
  });
});

describe("what a start refuses", () => {
  it.each([
    [
      "has data where it should be new",
      known("vda", 1, "pending", { kind: "data", signature: "ext4" }),
      "VOLUME_NOT_EMPTY",
    ],
    ["belongs to another key while pending", known("vda", 1, "pending", luks(2)), "LUKS_UUID_MISMATCH"],
    ["belongs to another key while active", known("vda", 1, "active", luks(2)), "LUKS_UUID_MISMATCH"],
    [
      "is empty although its key is active",
      known("vda", 1, "active", { kind: "empty" }),
      "VOLUME_NOT_FORMATTED",
    ],
    [
      "is thick and empty although its key is active",
      known("vda", 1, "active", { kind: "allocated" }),
      "VOLUME_NOT_FORMATTED",
    ],
    [
      "has data although its key is active",
      known("vda", 1, "active", { kind: "data", signature: undefined }),
      "VOLUME_NOT_FORMATTED",
    ],
    ["is gone", known("vda", 1, "active", { kind: "absent" }), "VOLUME_NOT_FOUND"],
    ["is gone while pending", known("vda", 1, "pending", { kind: "absent" }), "VOLUME_NOT_FOUND"],
    [
      "cannot be read",
      known("vda", 1, "active", { kind: "unreadable", reason: "I/O error" }),
      "VOLUME_UNREADABLE",
    ],
    [
      "has a damaged header",
      known("vda", 1, "active", { kind: "bad-luks", reason: "cut off", claimedUuid: uuid(1) }),
      "LUKS_HEADER_INVALID",
    ],
    [
      "is asked for, of unknown key, and thick",
      unknown("vda", 1, request("vda"), { kind: "allocated" }),
      "VOLUME_NOT_PROVEN_EMPTY",
    ],
    [
      "is asked for, of unknown key, and encrypted",
      unknown("vda", 1, request("vda"), luks(1)),
      "KEY_NOT_FOUND",
    ],
    [
      "is asked for, of unknown key, and has data",
      unknown("vda", 1, request("vda"), { kind: "data", signature: "xfs" }),
      "VOLUME_NOT_EMPTY",
    ],
  ] as const)("a disk that %s", (_, fact, code) => {
    const error = refusal(fact);
    expect(error.code).toBe(code);
    expect(error.message).toContain("guest web1");
    expect(error.message).toContain("disk vda");
  });

  it("a disk whose keystore does not answer, with the keystore's own reason", () => {
    const down = new LuksmithError("KEYSTORE_UNAVAILABLE", {
      what: "keystore local does not answer",
      hint: "start it",
    });
    const fact = {
      ...known("vda", 1, "active", luks(1)),
      key: { kind: "unavailable", error: down },
    } as const;
    const error = refusal(fact);
    expect(error.code).toBe("KEYSTORE_UNAVAILABLE");
    expect(error.message).toContain("keystore local does not answer");
    expect(error.hint).toBe("start it");
  });

  it("a copy that was half separated, with the command that goes on where there is one", () => {
    const right = "check that the disk points at the right volume";
    expect(refusal(known("vda", 1, "active", luks(2))).hint).toBe(
      `${right}; if it is a copy that was being separated: luksmith separate web1 vda`,
    );
    expect(otherKeyHint({ ...GUEST, encryptedStorages: ["vault"] }, "vda")).toBe(right);
  });

  it("a plain disk with a LUKS header of ours: the guest would overwrite ciphertext", () => {
    const key = { kind: "found", keystore: "local", record: record(1, "vda", "active") } as const;
    expect(refusal(plain("vda", key)).code).toBe("ENCRYPTION_BLOCK_LOST");
  });

  it("a plain snapshot file over an encrypted volume of ours: the guest would write in plaintext", () => {
    const overlaid = { kind: "found", keystore: "local", record: record(1, "vda", "active") } as const;
    expect(refusal({ ...plain("vda"), overlaid }).code).toBe("OVERLAY_NOT_ENCRYPTED");
  });

  it("a plain disk whose image format is wrong as well, with what to correct first", () => {
    const key = { kind: "found", keystore: "local", record: record(1, "vda", "active") } as const;
    const { code, hint } = refusal(plain("vda", key, "qcow2"));
    expect(code).toBe("ENCRYPTION_BLOCK_LOST");
    expect(hint).toContain("type='qcow2'");
  });

  it("a plain disk with a LUKS header, or over an encrypted volume, while nobody can tell whose it is", () => {
    const unavailable = { kind: "unavailable", error: DOWN } as const;
    for (const fact of [plain("vda", unavailable), { ...plain("vda"), overlaid: unavailable }]) {
      const error = refusal(fact);
      expect(error.code).toBe("KEYSTORE_UNAVAILABLE");
      expect(error.message).toContain("disk vda");
    }
  });

  it.each(["active", "pending"] as const)("two disks with one %s key, whoever asks", (state) => {
    const twins = ["vda", "vdb"].map((dev) => known(dev, 1, state, luks(1)));
    expect(refusal(...twins).code).toBe("GUEST_CONFIG_INVALID");
  });

  it("nothing for two foreign disks with one secret", () => {
    expect(planFor(...["vda", "vdb"].map((dev) => unknown(dev, 9, undefined, undefined))).stages).toEqual([]);
  });

  it("nothing for a plain disk that the guest itself has encrypted", () => {
    expect(planFor(plain("vda", { kind: "unknown" })).stages).toEqual([]);
  });

  it("all disks because of one: no step of the others is planned", () => {
    const error = refusal(
      known("vda", 1, "pending", { kind: "empty" }),
      known("vdb", 2, "active", luks(2)),
      known("vdc", 3, "active", { kind: "absent" }),
    );
    expect(error.message).toContain("disk vdc");
  });
});

describe("a guest that ran before", () => {
  it("gets its passphrases", () => {
    const plan = planProvide(GUEST, [known("vda", 1, "active", luks(1))], NOW);
    expect(plan.stages.flat().map((step) => step.kind)).toEqual(["provide-secrets"]);
  });

  it("is never given a new disk", () => {
    expect(() => planProvide(GUEST, [known("vda", 1, "pending", { kind: "empty" })], NOW)).toThrow(
      expect.objectContaining({ code: "VOLUME_NOT_FORMATTED" }) as Error,
    );
  });

  it("gets its passphrases from a keystore that was restored as it was before the first start", () => {
    const plan = planProvide(GUEST, [known("vda", 1, "pending", luks(1))], NOW);
    expect(plan.stages.flat().map((step) => step.kind)).toEqual(["activate-key", "provide-secrets"]);
  });

  it("is never given a disk whose header is torn", () => {
    const torn = { kind: "bad-luks", reason: "torn", claimedUuid: uuid(1) } as const;
    expect(() => planProvide(GUEST, [known("vda", 1, "pending", torn)], NOW)).toThrow(
      expect.objectContaining({ code: "VOLUME_NOT_FORMATTED" }) as Error,
    );
  });

  it("that is running gets each passphrase once", () => {
    const keys = [
      { disk: "vda", uuid: uuid(1) },
      { disk: "vdb", uuid: uuid(1) },
    ];
    const [[step] = []] = planReconnect(keys).stages;
    expect(step).toMatchObject({ kind: "provide-secrets", secrets: [{ uuid: uuid(1) }] });
    expect(planReconnect([]).stages).toEqual([]);
  });
});

it("never starts a guest whose disk the engine of its encryption block would destroy", () => {
  const refusedEngine = new LuksmithError("TRAIT_MISSING", { what: "librbd must not decrypt rbd:vms/web1" });
  const fact = known("vda", 1, "active", { kind: "luks", header: header(1) });
  for (const plan of [planPreStart, planProvide])
    expect(() => plan(GUEST, [{ ...fact, refusedEngine }], NOW)).toThrow(
      expect.objectContaining({
        code: "TRAIT_MISSING",
        message: "cannot start guest web1: disk vda: librbd must not decrypt rbd:vms/web1",
      }) as Error,
    );
});
