import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type SeenGuest, showLeakMap, showLeaks } from "../../src/cli/leak-map.js";
import type { StatusOutput } from "../../src/generated/status.js";
import { guestFromDomainXml } from "../../src/guest-config/domain-guest.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { type GuestDisk, guestXml } from "../e2e/support/guests.js";

const ID = "1c52488a-030a-473c-8447-ca7960e68062";

type GuestStatus = StatusOutput["guests"][number];

let text = "";
beforeEach(() => {
  text = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
});

function guest(dataPlaces: GuestStatus["dataPlaces"], name = "web1", askedBy: string[] = []): GuestStatus {
  const disk = {
    device: "vda",
    type: "disk",
    volume: "/srv/vm/a.img",
    protection: "plain",
    verdict: "plain",
    askedBy,
  } as const;
  return { id: ID, name, running: false, disks: [disk], dataPlaces };
}

const ENCRYPTED = { dev: "vda", path: "/srv/vm/a.img", format: "raw", secretUuid: newKeyUuid() } as const;
const PLAIN = { dev: "vda", path: "/srv/vm/a.img", format: "raw" } as const;

interface Asked {
  readonly name: string;
  readonly disk: GuestDisk;
  readonly askedBy: string[];
}

/** A guest with one disk. */
function seen(
  dataPlaces: GuestStatus["dataPlaces"],
  { name = "web1", disk = ENCRYPTED, askedBy = [] }: Partial<Asked> = {},
): SeenGuest {
  const xml = guestXml({ name: "web1", uuid: ID, disks: [disk] });
  return { status: guest(dataPlaces, name, askedBy), disks: guestFromDomainXml(xml).disks };
}

const SAVED = {
  kind: "saved-memory",
  where: "/save/web1.save",
  protection: "plaintext",
  detail: "memory",
} as const;

it("shows the worst places first, and what they and what can be done about them once", () => {
  const log = {
    kind: "console-log",
    protection: "plaintext",
    detail: "boot messages",
    hint: "no log",
  } as const;
  showLeakMap(
    guest([
      { kind: "tpm-state", where: "/tpm", protection: "encrypted", detail: "by libvirt" },
      { kind: "host-swap", where: "/dev/sda2", protection: "possible", detail: "swap", hint: "encrypt it" },
      { kind: "host-device", protection: "possible", detail: "a pci device" },
      { ...SAVED, hint: "discard it" },
      { ...log, where: "/a.log" },
      { ...log, where: "/b.log" },
      { ...log, where: "/c.wav", detail: "sound" },
    ]),
  );
  expect(text).toBe(`
data of web1 besides its encrypted disks:
PLACE             PROTECTION  WHERE
saved memory      plaintext   /save/web1.save
console log       plaintext   /a.log
console log       plaintext   /b.log
console log       plaintext   /c.wav
swap of the host  possible    /dev/sda2
host device       possible
TPM state         encrypted   /tpm

saved memory: memory
hint: discard it

console log: boot messages
console log: sound
hint: no log

swap of the host: swap
hint: encrypt it

host device: a pci device
TPM state: by libvirt
`);
});

it("says nothing where there is nothing, and nothing of memory that was not saved", () => {
  showLeakMap(guest([]));
  showLeakMap(guest([{ kind: "saved-memory", protection: "possible", detail: "nothing now" }]));
  showLeaks([seen([]), seen([{ ...SAVED, protection: "possible" }]), seen([{ ...SAVED, kind: "disk" }])]);
  expect(text).toBe("");
});

it("has a line for each guest with plaintext elsewhere, each kind once", () => {
  const unread = guest([SAVED], "web2");
  showLeaks([
    seen([SAVED, SAVED, { kind: "nvram", protection: "plaintext", detail: "" }]),
    { status: unread },
  ]);
  expect(text).toBe(
    "\nweb1 has data in plaintext besides its disks: saved memory, UEFI variables (luksmith status web1)\n",
  );
});

const OVERLAY = { ...PLAIN, path: "/srv/vm/a.s1", format: "qcow2", base: ENCRYPTED } as const;

it.each([
  ["whose disks may be plain", PLAIN, [], ""],
  ["whose plain disk somebody wants encrypted", PLAIN, ["rule all"], "web1"],
  ["with an encrypted disk", ENCRYPTED, [], "web1"],
  ["with a plain overlay over an encrypted disk", OVERLAY, [], "web1"],
])("is about a guest %s", (_, disk, askedBy, name) => {
  showLeaks([seen([SAVED], { disk, askedBy })]);
  expect(text.trim().split(" ")[0]).toBe(name);
});

it("prints hostile names so that they steer no terminal", () => {
  const place = { ...SAVED, where: "/a\u001b[2J\nb", detail: "x\u202ey" };
  showLeakMap(guest([place], "a\u001b]0;b"));
  showLeaks([seen([place], { name: "a'\u001b$(x)" })]);
  expect(text).toContain("/a\\u{1b}[2J\\u{a}b");
  expect(text).not.toMatch(/[\u001b\u202e]/);
  expect(text).toContain("(luksmith status 'a'\\''\\u{1b}$(x)')");
});
