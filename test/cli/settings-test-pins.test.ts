import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type TokenKeystore, TriedPins } from "../../src/cli/settings-test-pins.js";
import { pinMemoryPath } from "../../src/keystore/file/protectors/pin-file.js";
import { pinMemory, type PinState } from "../../src/keystore/file/protectors/pin-memory.js";
import { RecordingCommandRunner } from "../fake/recording-command-runner.js";
import { temporaryDirectory } from "../fs/tree.js";

/** What one `settings test --stdin` has: a PIN in a file of its own, and a keystore of its own. */
function given(pin: string, token = "hsm"): TokenKeystore {
  const directory = temporaryDirectory();
  const pinFile = join(directory, "pin");
  writeFileSync(pinFile, pin, { mode: 0o600 });
  const protector = { type: "pkcs11", module: "/usr/lib/hsm.so", token, key: "master", pinFile } as const;
  return { name: "local", type: "file", directory, protector };
}

function host() {
  const directory = join(temporaryDirectory(), "tried-pins");
  // another command each time
  const begin = (keystore: TokenKeystore) =>
    new TriedPins(directory, new RecordingCommandRunner()).begin(keystore);
  const tryOnce = async (keystore: TokenKeystore, state: PinState | "not asked") => {
    const trial = await begin(keystore);
    const { directory, protector } = keystore;
    const memory = pinMemoryPath(directory, protector.token, protector.pinFile);
    if (state !== "not asked") writeFileSync(memory, pinMemory(state, "stamp"), { mode: 0o600 });
    trial?.[Symbol.dispose]();
  };
  return { directory, begin, tryOnce };
}

describe("a PIN that settings test was given", () => {
  it.each([
    ["rejected", "the token rejected it before"],
    ["trying", "answer to it was lost"],
  ] as const)("is not tried again after %s; another one is, and on another token", async (state, why) => {
    const { begin, tryOnce } = host();
    await tryOnce(given("1234"), state);
    for (let again = 0; again < 2; again++) {
      await expect(begin(given("1234\n"))).rejects.toMatchObject({
        code: "PIN_REJECTED",
        why: expect.stringContaining(why) as string,
      });
    }
    await tryOnce(given("12345"), "accepted");
    await tryOnce(given("1234", "other"), "accepted");
  });

  it.each(["accepted", "none", "not asked"] as const)("is tried again after: %s", async (state) => {
    const { tryOnce } = host();
    await tryOnce(given("1234"), state);
    await expect(tryOnce(given("1234"), state)).resolves.toBeUndefined();
  });

  it("is noted before it is tried, for whoever is killed meanwhile, where root alone reads, and not itself", async () => {
    const { directory, begin } = host();
    await begin(given("1234"));
    const names = readdirSync(directory).toSorted();
    expect(names).toEqual(["key", expect.stringMatching(/^pin-[0-9a-f]{64}$/) as string]);
    expect(readFileSync(join(directory, names[1]!), "utf8")).toBe("trying");
    const modes = [directory, ...names.map((name) => join(directory, name))].map(
      (path) => statSync(path).mode & 0o777,
    );
    expect(modes).toEqual([0o700, 0o600, 0o600]);
  });

  it("waits for another trial with it, and is refused by what that showed", async () => {
    const { begin } = host();
    const first = given("1234");
    const trial = await begin(first);
    const second = begin(given("1234"));
    const memory = pinMemoryPath(first.directory, "hsm", first.protector.pinFile);
    writeFileSync(memory, pinMemory("rejected", "stamp"), { mode: 0o600 });
    trial?.[Symbol.dispose]();
    await expect(second).rejects.toMatchObject({ why: expect.stringContaining("rejected it") as string });
  });

  it("is not tried where others could change what is noted", async () => {
    const { directory, begin } = host();
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    await expect(begin(given("1234"))).rejects.toMatchObject({ code: "PERMISSIONS_UNSAFE" });
  });
});
