import { execa } from "execa";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BarbicanServer, startBarbican } from "../../lab/barbican-server.js";
import { startFaultyLine } from "../../lab/faulty-line.js";
import { bundle } from "../../fs/strace.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { passphraseIn, replaceText, sampleRecord, storeText } from "../sample-key.js";
import { askingAs, barbicanKeystore } from "./barbican-fixture.js";

let directory: string;
let driver: string;
let server: BarbicanServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "luksmith-test-"));
  driver = await bundle(new URL("driver.ts", import.meta.url).pathname, directory);
  server = await startBarbican();
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true });
});

type Operation = "store" | "activate" | "replace" | "delete";

interface Run {
  readonly projectId: string;
  readonly uuid: string;
  /** `done`, or undefined if it was killed. */
  readonly printed: string | undefined;
  readonly answers: number;
}

/** The operation in a process that is killed when Barbican has done what it was asked last, and before it hears so. */
async function run(operation: Operation, killedAt = Infinity): Promise<Run> {
  const [projectId, record] = [randomUUID(), sampleRecord()];
  if (operation !== "store") {
    await storeText(barbicanKeystore({ url: server.url, projectId }), record, textOf(record));
  }
  await using line = await startFaultyLine(server);
  const url = `http://127.0.0.1:${line.port}`;
  const child = execa(process.execPath, [driver, operation, url, projectId, record.uuid, textOf(record)], {
    reject: false,
  });
  let answers = 0;
  line.weather = {
    kind: "corrupt",
    change: (bytes) => {
      if (bytes.subarray(0, 5).toString() === "HTTP/") answers++;
      if (answers >= killedAt) child.kill("SIGKILL");
      return answers >= killedAt ? Buffer.alloc(0) : bytes;
    },
  };
  const { stdout, signal } = await child;
  return { projectId, uuid: record.uuid, printed: signal === undefined ? stdout : undefined, answers };
}

/** Every answer at which the operation can be killed, all at once. */
async function killedEverywhere(operation: Operation): Promise<Run[]> {
  const { printed, answers } = await run(operation);
  expect(printed).toBe("done");
  const runs = Array.from({ length: answers }, (_, index) => run(operation, index + 1));
  const killed = await Promise.all(runs);
  for (const { printed: said } of killed) expect(said).toBeUndefined();
  return killed;
}

/** A writer whose every step takes seconds, and Barbican's answers to somebody else about what it writes. */
function slowWriter() {
  const [projectId, record] = [randomUUID(), sampleRecord()];
  const ask = askingAs(server, projectId);
  const keystore = barbicanKeystore({ url: server.url, projectId });
  const store = async () => {
    await using line = await startFaultyLine(server);
    line.weather = { kind: "slow", milliseconds: 1200 };
    await storeText(barbicanKeystore({ url: `http://127.0.0.1:${line.port}`, projectId }), record, "slow");
  };
  const secrets = async () => (await ask("GET /v1/secrets")).json.secrets;
  return { record, keystore, ask, secrets, stored: store() };
}

describe.concurrent("Barbican keystore: a process that is very slow", () => {
  it("loses its key to one that takes it for what nobody finishes", async () => {
    const { record, keystore, secrets, stored } = slowWriter();
    const lost = expect(stored).rejects.toMatchObject({ code: "KEYSTORE_WRITE_FAILED" });
    await expect.poll(async () => (await secrets()).length, { timeout: 20_000 }).toBe(1);
    await storeText(keystore, record, "quick");
    await lost;
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("quick"));
    expect(await secrets()).toHaveLength(1);
  });

  it("stores its key if nobody else wants it", async () => {
    const { record, keystore, stored } = slowWriter();
    await stored;
    expect(await passphraseIn(keystore, record)).toEqual(Buffer.from("slow"));
  });

  it("does not say that its key is stored when somebody was about to remove it", async () => {
    const { record, keystore, ask, secrets, stored } = slowWriter();
    const lost = expect(stored).rejects.toMatchObject({ code: "KEYSTORE_WRITE_FAILED" });
    const finished = async () => (await secrets()).find((secret) => "content_types" in secret);
    await expect.poll(finished, { timeout: 30_000, interval: 100 }).toBeDefined();
    // as one does who has looked just before
    await ask(`DELETE ${new URL((await finished())!.secret_ref).pathname}`);
    await lost;
    expect(await keystore.fetch(keyUuidOf(record))).toBeUndefined();
  });
});

describe("Barbican keystore: a process that is killed", () => {
  it("has stored a key whole or not at all, and the next one clears away what is left", async () => {
    const killed = await killedEverywhere("store");
    expect(killed).toHaveLength(7);
    const states = await Promise.all(
      killed.map(async ({ projectId, uuid }) => {
        const keystore = barbicanKeystore({ url: server.url, projectId });
        const record = sampleRecord({ uuid });
        const before = await passphraseIn(keystore, record);
        expect(await keystore.list()).toEqual(before === undefined ? [] : [record]);
        if (before === undefined) await storeText(keystore, record, textOf(record));
        expect(await passphraseIn(keystore, record)).toEqual(Buffer.from(textOf(record)));
        expect(await keystore.list()).toEqual([record]);
        expect((await askingAs(server, projectId)("GET /v1/secrets")).json.total).toBe(1);
        return before === undefined ? "absent" : "whole";
      }),
    );
    // the payload is written last, and then looked for
    expect(states).toEqual([...Array.from({ length: 5 }, () => "absent"), "whole", "whole"]);
  });

  it("has updated a record whole or not at all", async () => {
    const killed = await killedEverywhere("activate");
    const states = await Promise.all(
      killed.map(async ({ projectId, uuid }) => {
        const keystore = barbicanKeystore({ url: server.url, projectId });
        const [record, ...others] = await keystore.list();
        expect(others).toEqual([]);
        const { state } = record!;
        expect(record).toEqual(sampleRecord({ uuid, state }));
        expect(await passphraseIn(keystore, record!)).toEqual(Buffer.from(textOf(record!)));
        await keystore.update({ ...record!, state: "active" });
        return state;
      }),
    );
    expect(states).toEqual(["pending", "pending", "active"]);
  });

  it("has replaced a passphrase or not, and the next one clears away the former", async () => {
    const killed = await killedEverywhere("replace");
    const states = await Promise.all(
      killed.map(async ({ projectId, uuid }) => {
        const keystore = barbicanKeystore({ url: server.url, projectId });
        const former = sampleRecord({ uuid });
        const [record, ...others] = await keystore.list();
        expect(others).toEqual([]);
        const { generation = 1 } = record!;
        const text = generation === 1 ? textOf(former) : `new ${textOf(former)}`;
        expect(await passphraseIn(keystore, former)).toEqual(Buffer.from(text));
        const secrets = async () => (await askingAs(server, projectId)("GET /v1/secrets")).json.total;
        const left = await secrets();
        const rotated = { ...former, generation: 2 };
        // whoever updates a key that has got its new passphrase takes the former one away as well
        if (generation === 2 && left === 2) {
          await keystore.update(rotated);
          expect(await secrets()).toBe(1);
        }
        await replaceText(keystore, rotated, `new ${textOf(former)}`);
        expect(await passphraseIn(keystore, former)).toEqual(Buffer.from(`new ${textOf(former)}`));
        expect(await keystore.list()).toEqual([rotated]);
        expect(await secrets()).toBe(1);
        return `${generation} of ${left}`;
      }),
    );
    // nothing, a secret that is not finished, both, the new one
    expect([...new Set(states)]).toEqual(["1 of 1", "1 of 2", "2 of 2", "2 of 1"]);
  });

  it("has deleted a key or not, and another one can", async () => {
    const killed = await killedEverywhere("delete");
    const states = await Promise.all(
      killed.map(async ({ projectId, uuid }) => {
        const keystore = barbicanKeystore({ url: server.url, projectId });
        const record = sampleRecord({ uuid });
        const before = await passphraseIn(keystore, record);
        if (before !== undefined) expect(before).toEqual(Buffer.from(textOf(record)));
        await keystore.delete(keyUuidOf(record));
        expect((await askingAs(server, projectId)("GET /v1/secrets")).json.total).toBe(0);
        return before === undefined ? "absent" : "whole";
      }),
    );
    expect(states).toEqual(["whole", "absent"]);
  });
});

function textOf({ uuid }: { readonly uuid: string }): string {
  return `passphrase of ${uuid}`;
}
