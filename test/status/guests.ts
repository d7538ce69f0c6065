import { type DiskStatus, type GuestStatus, verdictOf } from "../../src/status/verdict.js";

export const KEY = "11111111-2222-4333-8444-555555555555";

export function disk(overrides: Partial<DiskStatus> = {}): DiskStatus {
  const { protection = "plain", askedBy = [] } = overrides;
  const asked = { protection, askedBy };
  return {
    device: "vda",
    type: "disk",
    volume: "/srv/vm/a.img",
    verdict: verdictOf(asked),
    ...asked,
    ...overrides,
  };
}

export function guest(overrides: Partial<GuestStatus> = {}): GuestStatus {
  return { id: "g-1", name: "web1", running: false, disks: [], dataPlaces: [], ...overrides };
}

/** Encrypted, and looked after. */
export const PROTECTED = disk({
  protection: "encrypted",
  askedBy: ["rule a", "flavor"],
  ...{ format: "luks", cipher: "aes-xts-plain64", keySize: 512, openedBy: "native", keyslots: 2 },
  ...{ key: KEY, keystore: "local", keyCreatedAt: "2026-01-01T00:00:00.000Z" },
  keyRotatedAt: "2026-03-01T12:00:00.000Z",
  recovery: ["recipients"],
  headerCopyAt: "2026-03-01T12:00:01.000Z",
  lastDrill: { at: "2026-03-02T00:00:00.000Z", result: "passed" },
});
