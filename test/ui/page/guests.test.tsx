import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import type { StatusOutput } from "../../../src/generated/status.js";
import { countVerdicts } from "../../../src/ui/page/guests/count-verdicts.js";
import type { Problem } from "../../../src/ui/api/ui-api.js";
import { factsOf } from "../../../src/ui/page/guests/disk-facts.js";
import { EVERYTHING, type Filter, matching } from "../../../src/ui/page/guests/filter.js";
import type { Disk, Guest } from "../../../src/ui/page/guests/guest.js";
import { GuestDetails } from "../../../src/ui/page/guests/guest-details.js";
import { GuestList } from "../../../src/ui/page/guests/guest-list.js";
import { headlineOf } from "../../../src/ui/page/guests/headline.js";
import { KeystoresAway } from "../../../src/ui/page/guests/keystores-away.js";
import { LeakMap } from "../../../src/ui/page/guests/leak-map.js";
import { NoGuests } from "../../../src/ui/page/guests/no-guests.js";
import { Summary } from "../../../src/ui/page/guests/summary.js";
import { age, counted, duration, size } from "../../../src/ui/page/guests/words.js";
import { VERDICT_ORDER, VERDICTS } from "../../../src/ui/words/verdicts.js";
import schema from "../../../schemas/cli/status.schema.json" with { type: "json" };

const TAKEN_AT = "2026-11-23T12:00:00Z";
const disk = (more: Partial<Disk> = {}): Disk => ({
  ...{
    device: "vda",
    type: "file",
    volume: "/images/web1.img",
    protection: "plain",
    askedBy: [],
    verdict: "plain",
  },
  ...more,
});
const guest = (more: Partial<Guest> = {}): Guest => ({
  ...{
    id: "0b9bd5a2-8f6e-4f53-a4b6-7a7d6d5e1111",
    name: "web1",
    running: false,
    disks: [disk()],
    dataPlaces: [],
  },
  ...more,
});
const nothing = () => undefined;
const textOf = (element: ReactElement) =>
  renderToStaticMarkup(element)
    .replace(/<[^>]*>/g, " ")
    .replace(/&#x27;/g, "'")
    .replace(/\s+/g, " ");

describe("words", () => {
  it.each([
    ["2026-11-23T11:00:00Z", "today"],
    ["2026-11-22T12:00:01Z", "today"],
    ["2026-11-22T12:00:00Z", "1 day"],
    ["2025-11-23T12:00:00Z", "365 days"],
    // a clock that goes wrong
    ["2026-12-01T00:00:00Z", "today"],
  ])("the age of %s is %s", (since, words) => {
    expect(age(since, new Date(TAKEN_AT))).toBe(words);
  });

  it.each([
    [0, "0 bytes"],
    [1023, "1023 bytes"],
    [1024, "1 KiB"],
    [20 * 1024 ** 3, "20 GiB"],
    [1.5 * 1024 ** 4, "1.5 TiB"],
    [1024 ** 6, "1024 PiB"],
  ])("%i bytes are %s", (bytes, words) => {
    expect(size(bytes)).toBe(words);
  });

  it("tell durations and numbers", () => {
    expect([0, 89, 90, 5399, 11100].map(duration)).toEqual([
      "0 s",
      "89 s",
      "2 min",
      "1 h 30 min",
      "3 h 5 min",
    ]);
    expect([0, 1, 2].map((count) => counted(count, "disk"))).toEqual(["0 disks", "1 disk", "2 disks"]);
  });
});

describe("verdicts", () => {
  it("are all told in words, with a sign that no other one has", () => {
    const all = schema.properties.guests.items.properties.disks.items.properties.verdict.enum;
    expect([...VERDICT_ORDER].sort()).toEqual([...all].sort());
    const words = Object.values(VERDICTS);
    expect(new Set(words.map(({ sign }) => sign)).size).toBe(words.length);
    expect(new Set(words.map(({ word }) => word)).size).toBe(words.length);
  });

  it("are counted, the worst first", () => {
    const disks = (["protected", "plain", "unprotected", "protected"] as const).map((verdict) => ({
      verdict,
    }));
    expect(countVerdicts(disks)).toEqual([
      ["unprotected", 1],
      ["plain", 1],
      ["protected", 2],
    ]);
    expect(countVerdicts([])).toEqual([]);
  });
});

describe("the filter", () => {
  const guests = [
    guest({ id: "a1", name: "Web1", disks: [disk({ verdict: "protected" })] }),
    guest({ id: "b2", name: "web2", problem: { code: "X", what: "no" } }),
    guest({
      id: "c3",
      name: "db",
      disks: [disk({ verdict: "protected" }), disk({ verdict: "unprotected" })],
    }),
  ];
  it.each<[Partial<Filter>, string[]]>([
    [{}, ["Web1", "web2", "db"]],
    [{ text: " WEB " }, ["Web1", "web2"]],
    [{ text: "c3" }, ["db"]],
    [{ state: "protected" }, ["Web1", "db"]],
    [{ state: "refused" }, ["web2"]],
    [{ text: "web", state: "protected" }, ["Web1"]],
    [{ text: "other" }, []],
  ])("%j leaves %j", (filter, names) => {
    expect(matching(guests, { ...EVERYTHING, ...filter }).map(({ name }) => name)).toEqual(names);
  });
});

const NO_DISKS = { protected: 0, unprotected: 0, plain: 0, pending: 0, foreign: 0, unproven: 0, shredded: 0 };
const summary = (disks: Partial<typeof NO_DISKS>, more = {}): NonNullable<StatusOutput["summary"]> => ({
  ...{ guests: 3, unreadable: 0, disks: { ...NO_DISKS, ...disks } },
  ...more,
});

describe("the summary", () => {
  it.each([
    [summary({ protected: 3 }), "success", "Every disk is encrypted."],
    [
      summary({ protected: 3, unprotected: 1, unproven: 4 }),
      "danger",
      "1 disk should be encrypted and is not.",
    ],
    [summary({ unprotected: 2 }), "danger", "2 disks should be encrypted and are not."],
    [summary({ protected: 1, unproven: 1 }), "warning", "The state of 1 disk could not be found out."],
    [
      summary({ unproven: 2 }, { unreadable: 1 }),
      "warning",
      "The state of 2 disks and all disks of 1 guest could not be found out.",
    ],
    [
      summary({ protected: 1, pending: 1, plain: 2 }),
      "info",
      "Every disk is encrypted that should be; 1 disk will be at the next start, and nobody asks for it for 2 disks.",
    ],
    [summary({}), "info", "The guests of this host have no disks."],
  ])("says what is worst", (given, variant, words) => {
    expect(headlineOf(given)).toEqual({ variant, words });
  });

  it("has each number, and says which of them is chosen", () => {
    const given = summary({
      protected: 11,
      unprotected: 22,
      plain: 33,
      pending: 44,
      foreign: 55,
      unproven: 66,
      shredded: 77,
    });
    const markup = renderToStaticMarkup(<Summary summary={given} state="plain" onState={nothing} />);
    for (const count of Object.values(given.disks)) expect(markup).toContain(`>${count}</span>`);
    expect(markup.match(/aria-pressed="true"/g)).toHaveLength(1);
  });

  it("says what each number means where everybody can read it", () => {
    const text = textOf(<Summary summary={summary({})} state="all" onState={nothing} />);
    for (const { meaning } of Object.values(VERDICTS)) expect(text).toContain(meaning);
  });
});

describe("a disk's facts", () => {
  const encrypted = disk({
    ...{
      protection: "encrypted",
      verdict: "protected",
      key: "7f3a1b2c-1111-4222-8333-123456789abc",
      keystore: "vault",
    },
    ...{ format: "raw", cipher: "aes-xts-plain64", keySize: 512, guestSize: 1024 ** 3, keyslots: 2 },
    ...{ openedBy: "dm-crypt", mapping: "luksmith-1", keyCreatedAt: "2026-01-01T00:00:00Z" },
    ...{ copyOf: "/images/golden.img", sameVolumeKey: ["web2 vda", "web3 vda"], askedBy: ["rule web"] },
    ...{ recovery: ["passphrase"], lastDrill: { at: "2026-11-01T10:00:00Z", result: "failed" } },
  });

  it("are those that are known", () => {
    expect(factsOf(disk(), TAKEN_AT)).toEqual([["Volume", "/images/web1.img"]]);
    const facts = Object.fromEntries(factsOf(encrypted, TAKEN_AT));
    expect(facts).toMatchObject({
      Size: "1 GiB",
      Format: "raw",
      Cipher: "aes-xts-plain64, 512 bits",
      "Opened by": "dm-crypt, as luksmith-1",
      Keystore: "vault",
      "Key age": "326 days",
      Keyslots: "2",
      "Opens without keystore": "with its recovery passphrase",
      "Asked for by": "rule web",
      "Copy of": "/images/golden.img: one key opens both",
      "Same volume key as": "web2 vda, web3 vda",
    });
    expect(facts["Last drill"]).toMatch(/^failed, 1 Nov 2026/);
  });

  it("count a key's age from its last rotation", () => {
    const rotated = disk({ keyCreatedAt: "2020-01-01T00:00:00Z", keyRotatedAt: "2026-11-13T00:00:00Z" });
    expect(Object.fromEntries(factsOf(rotated, TAKEN_AT))["Key age"]).toBe("10 days since its rotation");
  });

  it("leave out an age where nobody knows when it was looked at", () => {
    expect(Object.keys(Object.fromEntries(factsOf(encrypted, undefined)))).not.toContain("Key age");
  });

  it("are nowhere the markup of a hostile name", () => {
    const evil = '<img src=x onerror="alert(1)">';
    const given = guest({ name: evil, disks: [disk({ volume: evil })] });
    const markup = renderToStaticMarkup(
      <GuestDetails guest={given} takenAt={TAKEN_AT} onProtect={nothing} onShow={nothing} />,
    );
    expect(markup).not.toContain("<img");
    expect(markup).toContain("&lt;img");
  });
});

describe("the list", () => {
  const list = (guests: readonly Guest[], total = guests.length) => (
    <GuestList
      guests={guests}
      takenAt={TAKEN_AT}
      total={total}
      jobs={new Map()}
      onProtect={nothing}
      onShow={undefined}
      onEverything={nothing}
    />
  );

  it("shows each guest, whether it runs, and its disks' verdicts in words", () => {
    const text = textOf(
      list([
        guest({ running: true, disks: [disk({ verdict: "protected" }), disk({ verdict: "unproven" })] }),
        guest({ id: "b", name: "db", problem: { code: "X", what: "no" } }),
      ]),
    );
    for (const words of [
      "web1",
      "Running",
      "1 protected",
      "1 not known",
      "db",
      "Shut off",
      "Would not start",
    ])
      expect(text).toContain(words);
  });

  it("says that there are no guests, and that none is like the filter", () => {
    expect(textOf(<NoGuests />)).toContain("This host has no virtual machines yet.");
    expect(textOf(list([], 7))).toContain("No guest is like that");
    expect(textOf(list([], 7))).toContain("0 of 7 guests");
  });

  it("does not make the details of hundreds of guests that nobody has opened", () => {
    const disks = Array.from({ length: 8 }, (_, index) => disk({ device: `vd${index}` }));
    const guests = Array.from({ length: 500 }, (_, index) =>
      guest({ id: String(index), name: `g${index}`, disks }),
    );
    const markup = renderToStaticMarkup(list(guests));
    expect(markup.match(/aria-expanded="false"/g)).toHaveLength(500);
    expect(markup).not.toContain("/images/web1.img");
  });
});

describe("a guest's details", () => {
  const details = (given: Guest, onShow?: () => void) =>
    textOf(<GuestDetails guest={given} takenAt={TAKEN_AT} onProtect={nothing} onShow={onShow} />);

  it("say why it would not start, and what to do", () => {
    const text = details(
      guest({ problem: { code: "X", what: "cannot start", why: "a reason", hint: "do this" } }),
    );
    for (const words of ["Cannot start.", "A reason.", "What to do: do this."]) expect(text).toContain(words);
  });

  it("offer to encrypt what is plain alone", () => {
    expect(details(guest({ disks: [disk({ verdict: "protected" }), disk()] }))).toContain(
      "Encrypt disks of web1",
    );
    for (const verdict of ["protected", "pending", "foreign", "unproven", "shredded"] as const)
      expect(details(guest({ disks: [disk({ verdict })] }))).not.toContain("Encrypt disks");
  });

  it("lead to the host manager's page where it has one", () => {
    expect(details(guest(), nothing)).toContain("Show in Machines of web1");
    expect(details(guest())).not.toContain("Machines");
  });

  it("say why a disk's state is not known", () => {
    const problem = { code: "X", what: "keystore vault does not answer", hint: "start it" };
    const text = details(guest({ disks: [disk({ verdict: "unproven", problem })] }));
    expect(text).toContain("Keystore vault does not answer.");
    expect(text).toContain("What to do: start it.");
  });
});

describe("the leak map", () => {
  it("says of each place how it is protected, and what can be done", () => {
    const text = textOf(
      <LeakMap
        places={[
          {
            kind: "nvram",
            where: "/nvram/web1",
            protection: "plaintext",
            detail: "boot order",
            hint: "move it",
          },
          { kind: "host-swap", protection: "possible", detail: "memory can be swapped out" },
        ]}
      />,
    );
    expect(text).toContain("2 other places of its data, 1 not encrypted");
    for (const words of [
      "Firmware variables",
      "Plaintext",
      "/nvram/web1",
      "Boot order.",
      "What to do: move it.",
    ])
      expect(text).toContain(words);
    for (const words of ["Swap of the host", "Possible", "Memory can be swapped out."])
      expect(text).toContain(words);
  });

  it("is not there where nothing is known", () => {
    expect(renderToStaticMarkup(<LeakMap places={[]} />)).toBe("");
  });
});

describe("keystores", () => {
  const away = (problem: Problem, unproven = 1) =>
    textOf(
      <KeystoresAway
        keystores={[
          { name: "local", type: "file", answers: true },
          { name: "vault", type: "barbican", answers: false, problem },
        ]}
        unproven={unproven}
      />,
    );
  const code = "KEYSTORE_UNAVAILABLE";

  it("are told where they do not answer, and only then", () => {
    const text = away({ code, what: "cannot reach vault", why: "connection refused" });
    for (const words of ["Keystore vault does not answer.", "Cannot reach vault.", "Connection refused."])
      expect(text).toContain(words);
    expect(text).not.toContain("local");
  });

  it("do not say the same twice", () => {
    const text = away({ code, what: "keystore vault does not answer", hint: "start it" });
    expect(text.match(/does not answer/g)).toHaveLength(1);
    expect(text).toContain("What to do: start it.");
  });

  it("are not said to be silent where it is their settings that are wrong", () => {
    const text = away({ code: "CREDENTIAL_MISSING", what: "the file of its token is missing" });
    expect(text).toContain("Keystore vault cannot be used: the file of its token is missing.");
    expect(text).not.toContain("does not answer");
  });

  it("are blamed for what is not known only where something is not", () => {
    const problem = { code, what: "cannot reach vault" };
    expect(away(problem, 1)).toContain("could not be found out");
    expect(away(problem, 0)).not.toContain("could not be found out");
    expect(away(problem, 0)).toContain("do not start");
  });
});
