import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../src/generated/key-record.js";
import { keyForCopy } from "../../src/migration/key-for-copy.js";
import type { KeyHere, ArrivingDisk } from "../../src/migration/arriving-disks.js";
import type { AnnotatedDisk } from "../../src/plan/facts.js";
import type { Probe } from "../../src/storage/storage-backend.js";
import { disk, guestWith, header, known, over, record, unknown, uuid } from "../plan/builders.js";
import { codeOf } from "../storage/workshop.js";

const GUEST = { ...guestWith(disk("vda", 1)), arrives: true } as const;
const NEW = uuid(99);

function arriving(
  probe: Probe,
  more: Partial<ArrivingDisk> = {},
  fact: AnnotatedDisk = unknown("vda", 1, undefined, undefined),
): ArrivingDisk {
  return { fact, probe, header: undefined, noted: undefined, ...more };
}

/** Key 2, as a keystore here has it. */
function key(state: KeyRecord["state"], change: Partial<KeyRecord> = {}): KeyHere {
  return { uuid: uuid(2), key: { kind: "found", record: { ...record(2, "vda", state), ...change } } };
}

const unavailable: KeyHere = {
  uuid: uuid(2),
  key: { kind: "unavailable", error: new LuksmithError("KEYSTORE_UNAVAILABLE", { what: "it is away" }) },
};
const luks = (n: number): Probe => ({ kind: "luks", header: header(n) });
const torn: Probe = { kind: "bad-luks", reason: "it is cut off", claimedUuid: uuid(2) };
const empty: Probe = { kind: "empty" };
const decide = (one: ArrivingDisk) => keyForCopy(GUEST, one, () => NEW);
const refusal = (one: ArrivingDisk) => codeOf((async () => await Promise.resolve(decide(one)))());

describe("the key of a disk whose content is copied", () => {
  it.each([
    ["new for a volume that is wholly empty", arriving(empty), NEW],
    [
      "new also where the source's key is known here",
      arriving(empty, {}, known("vda", 1, "active", empty)),
      NEW,
    ],
    [
      "that of the header which an earlier migration left",
      arriving(luks(2), { header: key("active") }),
      uuid(2),
    ],
    [
      "that of a header which was not recorded as in use yet",
      arriving(luks(2), { header: key("pending") }),
      uuid(2),
    ],
    ["that of a header which a power cut tore", arriving(torn, { header: key("pending") }), uuid(2)],
    [
      "that which was noted, and not stored yet",
      arriving(empty, { noted: { uuid: uuid(2), key: { kind: "unknown" } } }),
      uuid(2),
    ],
    ["that which was noted and stored", arriving(empty, { noted: key("pending") }), uuid(2)],
    ["new where the noted one has encrypted something else", arriving(empty, { noted: key("active") }), NEW],
    [
      "new where the noted one is of another volume",
      arriving(empty, { noted: key("pending", { volume: "/srv/b" }) }),
      NEW,
    ],
    ["new where nobody can tell about the noted one", arriving(empty, { noted: unavailable }), NEW],
  ])("is %s", (_, one, expected) => {
    expect(decide(one)).toEqual({ kind: "copied", uuid: expected });
  });

  it("is none where the volume has its header, whatever else is wrong with it", () => {
    const fact = known("vda", 1, "active", luks(1));
    expect(decide(arriving(luks(1), { header: { ...key("active"), uuid: uuid(1) } }, fact))).toEqual({
      kind: "as-it-is",
    });
  });
});

describe("a disk cannot come", () => {
  const other = { guest: { id: "99999999-2222-4333-8444-555555555555", name: "other" } };
  const readOnly = { ...unknown("vda", 1, undefined, undefined), disk: disk("vda", 1, { readOnly: true }) };
  const overlay = {
    ...known("vda", 1, "active", empty),
    disk: disk("vda", 1, { backingSecretUuids: [uuid(5)] }),
  };

  it.each([
    ["without a volume", "VOLUME_NOT_FOUND", arriving({ kind: "absent" })],
    ["to data", "VOLUME_NOT_EMPTY", arriving({ kind: "data", signature: "ext4 file system" })],
    ["to what may be data", "VOLUME_NOT_PROVEN_EMPTY", arriving({ kind: "allocated" })],
    ["to what cannot be read", "VOLUME_UNREADABLE", arriving({ kind: "unreadable", reason: "EIO" })],
    ["to a header that is damaged", "LUKS_HEADER_INVALID", arriving({ ...torn, claimedUuid: undefined })],
    ["to a damaged header in use", "LUKS_HEADER_INVALID", arriving(torn, { header: key("active") })],
    [
      "to a damaged header of a key that nobody has",
      "LUKS_HEADER_INVALID",
      arriving({ ...torn, claimedUuid: uuid(1) }, { header: { uuid: uuid(1), key: { kind: "unknown" } } }),
    ],
    ["to another guest's volume", "LUKS_UUID_MISMATCH", arriving(luks(2), { header: key("active", other) })],
    [
      "to another disk's volume",
      "LUKS_UUID_MISMATCH",
      arriving(luks(2), { header: key("active", { disk: "vdb" }) }),
    ],
    [
      "to a volume of a key that nobody has",
      "LUKS_UUID_MISMATCH",
      arriving(luks(2), { header: { uuid: uuid(2), key: { kind: "unknown" } } }),
    ],
    [
      "to a volume of a key that nobody can tell about",
      "KEYSTORE_UNAVAILABLE",
      arriving(luks(2), { header: unavailable }),
    ],
    [
      "without its key to its own volume",
      "KEY_NOT_FOUND",
      arriving(luks(1), { header: { uuid: uuid(1), key: { kind: "unknown" } } }),
    ],
    ["that the guest only reads to an empty volume", "VOLUME_NOT_FORMATTED", arriving(empty, {}, readOnly)],
    [
      "that lies over another one to an empty volume",
      "VOLUME_NOT_FORMATTED",
      arriving(
        empty,
        {},
        over(overlay, 5, { kind: "found", keystore: "local", record: record(5, "vda", "active") }),
      ),
    ],
  ] as const)("%s", async (_, code, one) => {
    expect(await refusal(one)).toBe(code);
  });
});
