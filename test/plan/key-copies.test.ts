import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { Cached } from "../../src/keystore/keyring.js";
import { Keyring } from "../../src/keystore/keyring.js";
import type { KeyFact } from "../../src/plan/facts.js";
import { gatherKeys } from "../../src/plan/gather-keys.js";
import { copiesIn, warnOfCopy } from "../../src/plan/key-copies.js";
import { KeySession } from "../../src/plan/key-session.js";
import { Secret } from "../../src/secret/secret.js";
import { RecordingLogger } from "../fake/recording-logger.js";
import { disk, guestWith, header, known, over, plain, record, uuid } from "./builders.js";

const error = new LuksmithError("KEYSTORE_UNAVAILABLE", {
  what: "keystore vault1 does not answer",
  why: "https://vault.example:8200: nothing listens there",
});
const cached: Cached = { since: new Date("2026-01-01T12:00:00Z"), error };
const LUKS = { kind: "luks", header: header(1) } as const;

describe("copies among a guest's keys", () => {
  const own = known("vda", 1, "active", LUKS);
  const copy: KeyFact = { kind: "found", keystore: "vault1", record: record(2, "vdb", "active"), cached };

  it("are those whose keystore does not answer, of disks and of what they lie over", () => {
    const facts = [
      own,
      { ...known("vdb", 2, "active", LUKS), key: copy },
      over(known("vdc", 3, "active", LUKS), 4, copy),
      over({ ...known("vdd", 5, "active", LUKS), key: { kind: "unavailable", error } }, 6, {
        kind: "unknown",
      }),
      plain("vde", copy),
    ];
    expect(copiesIn(facts).map(({ disk: dev, uuid: key }) => [dev, key])).toEqual([
      ["vdb", uuid(2)],
      ["vdc", uuid(4)],
    ]);
    expect(copiesIn([own])).toEqual([]);
  });

  it("are told of with all that an administrator needs, and nothing that steers his terminal", () => {
    const logger = new RecordingLogger();
    const guest = { name: "web\u001b[2J1" };
    warnOfCopy(guest, { disk: "vdb", uuid: uuid(2), keystore: "vault1", cached }, logger);
    expect(logger.warnings).toEqual([
      {
        message:
          `disk vdb of guest web\\u{1b}[2J1 is opened with a copy of key ${uuid(2)}, which keystore vault1 gave out at ` +
          "2026-01-01T12:00:00.000Z: keystore vault1 does not answer (https://vault.example:8200: nothing listens there)",
        fields: { guest: guest.name, disk: "vdb", key: uuid(2) },
      },
    ]);
  });

  it("are told of as well when the host manager restarts under a guest that runs", async () => {
    const never = () => Promise.reject(error);
    const keystore = {
      name: "vault1",
      type: "vault",
      fetch: never,
      store: never,
      change: never,
      update: never,
      replace: never,
      find: never,
    };
    const lookUp = () =>
      Promise.resolve({
        ...{ keystore: "vault1", since: cached.since },
        key: { record: record(1, "vda", "active"), passphrase: Secret.randomPassphrase() },
      });
    const cache = { gaveOut: never, refused: never, lookUp, settled: never };
    const keyring = new Keyring([{ name: "vault1", make: () => Promise.resolve(keystore) }], () =>
      Promise.resolve(cache),
    );
    const logger = new RecordingLogger();
    using session = new KeySession();
    const keys = await gatherKeys(guestWith(disk("vda", 1)), keyring, session, logger);
    expect(keys).toEqual([{ disk: "vda", uuid: uuid(1) }]);
    expect(logger.warnings.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^disk vda of guest web1 is opened with a copy of key/),
    ]);
  });
});
