import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { temporaryName } from "../../src/fs/leftovers.js";
import { type Arrival, Arrivals } from "../../src/migration/arrivals.js";
import { temporaryDirectory } from "../fs/tree.js";
import { codeOf } from "../storage/workshop.js";

let directory: string;
let arrivals: Arrivals;

beforeEach(() => {
  directory = join(temporaryDirectory(), "lib", "arrivals");
  arrivals = new Arrivals(directory);
});

const ID = "5afe9aab-0794-45bc-8958-b5600a7a36a0";
const OTHER = "6afe9aab-0794-45bc-8958-b5600a7a36a0";

function arrivalOf(id: string): Arrival {
  const [from, to] = [newKeyUuid(), newKeyUuid()];
  const volume = { kind: "block", path: "/dev/vg/vm1", format: "raw" } as const;
  const mapping = (uuid: string) => ({ name: `luksmith-vm1-${uuid}`, format: "luks", volume }) as const;
  return {
    guest: { id, name: "web <1>" },
    copies: [
      { disk: "vda", from: { disk: "vda", uuid: from }, to: { disk: "vda", uuid: to } },
      {
        disk: "vdb",
        from: { disk: "vdb", uuid: from, mapping: mapping(from) },
        to: { disk: "vdb", uuid: to, mapping: mapping(to) },
      },
      {
        disk: "vdc",
        from: { disk: "vdc", uuid: from, engine: "librbd" },
        to: { disk: "vdc", uuid: to, engine: "librbd" },
      },
    ],
  };
}

describe("notes about guests that migrate here", () => {
  it("say what was noted, to root alone", () => {
    const arrival = arrivalOf(ID);
    const noted = arrivals.note(arrival);
    expect(noted).toMatchObject({ ...arrival, stage: "announced" });
    expect(new Arrivals(directory).find({ id: ID })).toEqual(noted);
    expect([statSync(directory).mode & 0o777, statSync(join(directory, ID)).mode & 0o777]).toEqual([
      0o700, 0o600,
    ]);
  });

  it("tell one attempt from the next", () => {
    const arrival = arrivalOf(ID);
    const first = arrivals.note(arrival);
    const second = arrivals.note(arrival);
    arrivals.forget({ id: ID }, first.nonce);
    expect(arrivals.find({ id: ID })).toEqual(second);
    arrivals.forget({ id: ID }, second.nonce);
    expect(arrivals.find({ id: ID })).toBeUndefined();
  });

  it("go with their directory, so that a hook has nothing to look for", () => {
    for (const id of [ID, OTHER]) arrivals.note({ guest: { id, name: "web1" }, copies: [] });
    expect(arrivals.list().map(({ guest }) => guest.id)).toEqual([ID, OTHER]);
    arrivals.forget({ id: ID });
    expect(readdirSync(directory)).toEqual([OTHER]);
    arrivals.forget({ id: OTHER });
    arrivals.forget({ id: OTHER });
    expect(existsSync(directory)).toBe(false);
    expect(arrivals.list()).toEqual([]);
  });

  it("remember that the guest has arrived", () => {
    const noted = arrivals.note(arrivalOf(ID));
    arrivals.arrived(noted, true);
    expect(arrivals.find({ id: ID })).toEqual({ ...noted, stage: "arrived", defined: true });
  });

  it("leave no temporary file of a process that was killed", () => {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `.${OTHER}.4194304.0123456789abcdef.tmp`), "{");
    expect(arrivals.list()).toEqual([]);
    arrivals.note({ guest: { id: ID, name: "web1" }, copies: [] });
    expect(readdirSync(directory)).toEqual([ID]);
  });

  it.each(["", "..", "a/b", "-x", "x".repeat(65)])("know no guest of the id %j", (id) => {
    expect(arrivals.find({ id })).toBeUndefined();
    arrivals.forget({ id });
    expect(() => arrivals.note({ guest: { id, name: "web1" }, copies: [] })).toThrow("id");
  });

  it("say that they could not be written", async () => {
    const file = join(temporaryDirectory(), "file");
    writeFileSync(file, "");
    const nowhere = new Arrivals(join(file, "arrivals"));
    const note = async () => await Promise.resolve(nowhere.note(arrivalOf(ID)));
    expect(await codeOf(note())).toBe("NOT_PERMITTED");
  });
});

describe("what is no note of ours", () => {
  const text = (change: (note: Record<string, never>) => unknown): string => {
    const { copies, guest } = arrivalOf(ID);
    const note = { guest, copies, stage: "announced", since: new Date().toISOString(), nonce: "n" };
    return JSON.stringify(change(structuredClone(note) as never) ?? note);
  };
  const changed = (path: string, value: unknown) =>
    text((note) => {
      const parts = path.split(".");
      const last = parts.pop()!;
      const owner = parts.reduce((part: Record<string, unknown>, name) => part[name] as never, note);
      owner[last] = value;
      return note;
    });

  it("is read where it is one", () => {
    arrivals.note(arrivalOf(OTHER));
    writeFileSync(join(directory, ID), changed("nonce", "m"), { mode: 0o600 });
    expect(arrivals.find({ id: ID })).toMatchObject({ nonce: "m" });
  });

  it.each([
    ["half a note", text(() => undefined).slice(0, 80)],
    ["nothing", ""],
    ["null", "null"],
    ["of another guest", changed("guest.id", OTHER)],
    ["without a guest's name", changed("guest.name", undefined)],
    ["of another stage", changed("stage", "gone")],
    ["of no time", changed("since", "yesterday")],
    ["without copies", changed("copies", undefined)],
    ["of a disk that is none", changed("copies.0.disk", "../vda")],
    ["of two disks in one", changed("copies.0.to.disk", "vdb")],
    ["of a key that is none", changed("copies.0.to.uuid", "../../etc/passwd")],
    ["of an engine that is none", changed("copies.2.to.engine", "qemu'/>")],
    ["of a mapping that is none of ours", changed("copies.1.to.mapping.name", "root")],
    ["of a format that is none", changed("copies.1.to.mapping.format", "zip")],
    ["of a volume that is none", changed("copies.1.to.mapping.volume.path", "vm1")],
  ])("is skipped: %s", (_, note) => {
    arrivals.note({ guest: { id: OTHER, name: "web1" }, copies: [] });
    writeFileSync(join(directory, ID), note, { mode: 0o600 });
    expect(arrivals.find({ id: ID })).toBe("damaged");
    expect(arrivals.list()).toHaveLength(1);
    expect(arrivals.damaged()).toEqual([join(directory, ID)]);
    arrivals.note(arrivalOf(ID));
    expect(arrivals.list()).toHaveLength(2);
    expect(arrivals.damaged()).toEqual([]);
  });

  it("is no note under a name that no guest has, and is one that is being written", () => {
    arrivals.note(arrivalOf(ID));
    for (const name of [`${ID}.json`, temporaryName(ID, "0".repeat(16))])
      writeFileSync(join(directory, name), "{}", { mode: 0o600 });
    expect(arrivals.damaged()).toEqual([join(directory, `${ID}.json`)]);
  });

  it.each([
    [
      "a file that others can write",
      (path: string) =>
        writeFileSync(
          path,
          text(() => undefined),
          { mode: 0o666 },
        ),
    ],
    ["a link", (path: string) => symlinkSync("/etc/passwd", path)],
    ["a directory", (path: string) => mkdirSync(path)],
  ])("is skipped: %s", (_, make) => {
    arrivals.note({ guest: { id: OTHER, name: "web1" }, copies: [] });
    process.umask(0);
    make(join(directory, ID));
    expect(arrivals.find({ id: ID })).toBe("damaged");
    expect(arrivals.list()).toHaveLength(1);
    expect(arrivals.damaged()).toEqual([join(directory, ID)]);
  });
});
