import { execa } from "execa";
import { beforeAll, describe, expect, it } from "vitest";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import type { FaultyLine } from "../../lab/faulty-line.js";
import { startFaultyLine } from "../../lab/faulty-line.js";
import { bundle } from "../../fs/strace.js";
import { passphraseIn, replaceText, sampleRecord, storeText } from "../sample-key.js";
import { kmipWorld } from "./kmip.fixture.js";

const world = kmipWorld();
let driver: string;

beforeAll(async () => {
  driver = await bundle(new URL("driver.ts", import.meta.url).pathname, world.server.directory);
});

type Operation = "store" | "update" | "replace" | "delete";

/** Runs the driver, and kills it when the server has answered so many times; its output, or undefined if it was killed. */
async function run(
  operation: Operation,
  uuid: string,
  settings: ReturnType<typeof world.settings>,
  answers: number,
): Promise<string | undefined> {
  await using line: FaultyLine = await startFaultyLine(world.server);
  const argv = [driver, operation, JSON.stringify({ ...settings, port: line.port }), uuid];
  const process_ = execa(process.execPath, argv, {
    env: {},
    extendEnv: false,
    reject: false,
    stdin: "ignore",
  });
  let heard = 0;
  line.weather = {
    kind: "corrupt",
    change: (answer) => {
      if (++heard === answers) process_.kill("SIGKILL");
      return answer;
    },
  };
  const { signal, stdout } = await process_;
  return signal === "SIGKILL" ? undefined : stdout;
}

describe("KMIP keystore, killed after any answer of the server", () => {
  // half of it is what the next writer waits for one that may be alive
  const timeout = 4;

  it("has stored a key whole or not at all, and can store it then", async () => {
    const settings = world.settings({ timeout });
    const keystore = new KmipKeystore(settings);
    const outcomes: string[] = [];
    const rounds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(async (answers) => {
      const record = sampleRecord();
      const printed = await run("store", record.uuid, settings, answers);
      const kept = await passphraseIn(keystore, record);
      outcomes.push(`${printed ?? "killed"}: ${kept === undefined ? "absent" : "there"}`);
      if (printed !== undefined) expect(printed).toBe("done");
      if (kept === undefined) await storeText(keystore, record, `of ${record.uuid}`);
      else await expect(storeText(keystore, record, "another")).rejects.toMatchObject({ code: "KEY_EXISTS" });
      expect(await passphraseIn(keystore, record)).toEqual(Buffer.from(`of ${record.uuid}`));
      expect((await keystore.list()).filter(({ uuid }) => uuid === record.uuid)).toHaveLength(1);
    });
    await Promise.all(rounds);
    expect(outcomes).toContain("killed: absent");
    expect(outcomes).toContain("killed: there");
    expect(outcomes).toContain("done: there");
  });

  it("has replaced a passphrase or not, and the next one destroys the former", async () => {
    // so many processes at once take their time
    const settings = world.settings({ timeout: 20 });
    const keystore = new KmipKeystore(settings);
    const outcomes: string[] = [];
    const rounds = Array.from({ length: 18 }, (_, index) => index + 1).map(async (answers) => {
      const record = sampleRecord();
      await storeText(keystore, record, `of ${record.uuid}`);
      const printed = await run("replace", record.uuid, settings, answers);
      if (printed !== undefined) expect(printed).toBe("done");
      const kept = (await keystore.list()).filter(({ uuid }) => uuid === record.uuid);
      expect(kept).toHaveLength(1);
      const { generation = 1 } = kept[0]!;
      const text = `${generation === 1 ? "" : "new "}of ${record.uuid}`;
      expect(String(await passphraseIn(keystore, record))).toBe(text);
      outcomes.push(`${printed ?? "killed"}: ${generation}`);
      const rotated = { ...record, generation: 2 };
      await replaceText(keystore, rotated, `new of ${record.uuid}`);
      expect(String(await passphraseIn(keystore, record))).toBe(`new of ${record.uuid}`);
      expect((await keystore.list()).filter(({ uuid }) => uuid === record.uuid)).toEqual([rotated]);
    });
    await Promise.all(rounds);
    expect([...new Set(outcomes)].sort()).toEqual(["done: 2", "killed: 1", "killed: 2"]);
  });

  it.each([
    ["update", ["pending", "active"]],
    ["delete", ["pending", "absent"]],
  ] as const)("has done an %s whole or not at all, and can do it again", async (operation, states) => {
    const settings = world.settings({ timeout });
    const keystore = new KmipKeystore(settings);
    const outcomes = new Set<string>();
    for (let answers = 1; ; answers++) {
      const record = sampleRecord();
      await storeText(keystore, record, `of ${record.uuid}`);
      const printed = await run(operation, record.uuid, settings, answers);
      const state = (await keystore.list()).find(({ uuid }) => uuid === record.uuid)?.state ?? "absent";
      outcomes.add(state);
      expect(states).toContain(state);
      if (state !== "absent")
        expect(await passphraseIn(keystore, record)).toEqual(Buffer.from(`of ${record.uuid}`));
      if (operation === "delete") await keystore.delete(keyUuidOf(record));
      else await keystore.update({ ...record, state: "active" });
      const after = (await keystore.list()).find(({ uuid }) => uuid === record.uuid)?.state ?? "absent";
      expect(after).toBe(states[1]);
      if (printed === undefined) continue;
      expect(printed).toBe("done");
      break;
    }
    expect([...outcomes].sort()).toEqual([...states].sort());
  });
});
