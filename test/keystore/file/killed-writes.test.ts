import { cpSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { bundle, type Call, type Outcome, trace } from "../../fs/strace.js";
import { temporaryDirectory, treeOf } from "../../fs/tree.js";
import { passphraseIn, sampleRecord, storeText } from "../sample-key.js";
import { fileKeystore } from "./file-keystore.fixture.js";

const EARLIER = sampleRecord();
const SUBJECT = sampleRecord();

interface Case {
  readonly name: string;
  readonly operation: "store" | "activate" | "replace";
  /** What the keystore holds before. */
  readonly before: readonly (typeof EARLIER)[];
}

const CASES: readonly Case[] = [
  { name: "the first store", operation: "store", before: [] },
  { name: "a later store", operation: "store", before: [EARLIER] },
  { name: "an update", operation: "activate", before: [EARLIER, SUBJECT] },
  { name: "a new passphrase", operation: "replace", before: [EARLIER, SUBJECT] },
];

describe.each(CASES)("file keystore: $name", ({ operation, before }) => {
  let directory: string;
  let driver: string;
  let runs: number;

  beforeEach(async () => {
    directory = temporaryDirectory();
    driver = await bundle(new URL("driver.ts", import.meta.url).pathname, directory);
    mkdirSync(join(directory, "0"));
    for (const record of before)
      await storeText(fileKeystore(join(directory, "0/keystore")), record, textOf(record));
    runs = 0;
  });

  it("leaves every key whole or absent, whatever call it is killed at", async () => {
    const { calls } = await run();
    expect(calls.length).toBeGreaterThan(10);
    for (const [index, call] of calls.entries()) {
      const { signal, calls: made } = await run({ ...call, effect: "signal=KILL" });
      expect(signal, `killed at ${call.name} ${call.n}`).toBe("SIGKILL");
      expect(made).toEqual(calls.slice(0, index + 1));
      await expectWholeOrAbsent(`killed at ${call.name} ${call.n}`);
    }
  });

  it("leaves every key whole or absent, whatever call fails, and tells the truth", async () => {
    const { calls } = await run();
    const named = calls.findIndex(({ name }) => name === "link");
    for (const [index, call] of calls.entries()) {
      const { printed } = await run({ ...call, effect: "error=EIO" });
      const when = `after an error of ${call.name} ${call.n}: ${printed}`;
      expect(printed, when).toMatch(/^(done|KEYSTORE_WRITE_FAILED|KEYSTORE_UNAVAILABLE)$/);
      // others may have sealed keys under it from the moment that it had its name
      if (before.length === 0 && index > named)
        expect(existsSync(join(keystoreDirectory(), "master-key.json")), when).toBe(true);
      const state = await expectWholeOrAbsent(when);
      if (printed === "done") expect(state, when).toBe(operation === "store" ? "pending" : "active");
      else if (operation === "store") expect(state, when).toBe("absent");
    }
  });

  it("gives a file its name when its bytes are on stable storage, and returns when the name is", async () => {
    const { calls } = await run();
    const write = ["openat", "write", "fchmod", "fsync"];
    const sync = ["openat", "fsync"];
    // a store makes sure of the master key's name first; a change, that nobody was faster
    const expected =
      operation === "store"
        ? [...sync, ...write, "link", "unlink", ...sync]
        : [...write, "openat", "rename", ...sync];
    expect(calls.map(({ name }) => name).slice(-expected.length)).toEqual(expected);
  });

  /** The operation on a fresh copy of the keystore. */
  async function run(fault?: Call & { readonly effect: string }): Promise<Outcome> {
    runs += 1;
    cpSync(join(directory, "0"), join(directory, String(runs)), { recursive: true });
    const argv = [driver, operation, keystoreDirectory(), SUBJECT.uuid, textOf(SUBJECT)];
    const watched = join(directory, String(runs));
    return trace(argv, { watched, log: join(directory, "log"), ...(fault === undefined ? {} : { fault }) });
  }

  /** Checks all keys and that the next store leaves nothing but keys; the subject's state, or `absent`. */
  async function expectWholeOrAbsent(when: string): Promise<string> {
    const keystore = fileKeystore(keystoreDirectory());
    const expected = async ({ uuid }: typeof SUBJECT) => {
      const { generation } = (await keystore.list()).find((record) => record.uuid === uuid) ?? {};
      return Buffer.from(`${generation === undefined ? "" : "new "}${textOf({ uuid })}`);
    };
    for (const record of before) {
      expect(await passphraseIn(keystore, record), when).toEqual(await expected(record));
    }
    const subject = await passphraseIn(keystore, SUBJECT);
    if (subject !== undefined) expect(subject, when).toEqual(await expected(SUBJECT));
    await storeText(keystore, sampleRecord(), "next");
    const records = await keystore.list();
    const names = ["master-key.json", "records", ...records.map(({ uuid }) => `records/${uuid}.json`)];
    expect(Object.keys(treeOf(keystoreDirectory())), when).toEqual(names.sort());
    return records.find(({ uuid }) => uuid === SUBJECT.uuid)?.state ?? "absent";
  }

  function keystoreDirectory(): string {
    return join(directory, String(runs), "keystore");
  }
});

describe("file keystore: processes at once", () => {
  it("go on with one master key when they make it at the same time", async () => {
    const directory = temporaryDirectory();
    const driver = await bundle(new URL("driver.ts", import.meta.url).pathname, directory);
    const keystoreDirectory = join(directory, "keystore");
    const records = [sampleRecord(), sampleRecord(), sampleRecord()];
    const outcomes = await Promise.all(
      records.map((record, index) =>
        trace([driver, "store", keystoreDirectory, record.uuid, textOf(record)], {
          watched: keystoreDirectory,
          log: join(directory, `log${index}`),
          // so that each has a master key of its own ready before any of them has named it
          fault: { name: "link", n: 1, effect: "delay_enter=400000" },
        }),
      ),
    );
    expect(outcomes.map(({ printed }) => printed)).toEqual(["done", "done", "done"]);
    for (const record of records) {
      expect(await passphraseIn(fileKeystore(keystoreDirectory), record)).toEqual(
        Buffer.from(textOf(record)),
      );
    }
  });
});

function textOf({ uuid }: { readonly uuid: string }): string {
  return `passphrase of ${uuid}`;
}
