import { join } from "node:path";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import { LuksmithError } from "../../../src/error/luksmith-error.js";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import { type CommandRunner, ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { keyCacheFor } from "../../../src/keystore/cache/index.js";
import type { Instant } from "../../../src/keystore/cache/instant.js";
import { listCopies } from "../../../src/keystore/cache/inventory.js";
import type { CachePlace } from "../../../src/keystore/cache/places.js";
import type { CacheSettings } from "../../../src/keystore/cache/policy.js";
import { keyUuidOf } from "../../../src/keystore/key-record.js";
import { Keyring, type Location } from "../../../src/keystore/keyring.js";
import type { Key } from "../../../src/keystore/keystore.js";
import { parseSettings } from "../../../src/settings/load.js";
import { Secret } from "../../../src/secret/secret.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { sampleRecord } from "../sample-key.js";

const HOUR = 3600;

/** What a keystore of this world does when it is asked; it has every key, until it is told otherwise. */
export type Mood = "answers" | "unknown" | ErrorCode;

export interface WorldOptions {
  readonly cache?: "off" | "memory" | "sealed";
  readonly hours?: number;
  readonly root?: string;
}

/**
 * A host with two remote keystores, `vault1` and `vault2`, and a real cache below a temporary directory. The keystores
 * are made up: of them the cache sees only what they answer. Each `locate` is a hook's process: nothing is remembered.
 */
export class CacheWorld {
  readonly root: string;
  readonly places: CachePlace[];
  readonly warnings: string[] = [];
  readonly moods: Record<string, Mood> = { vault1: "answers", vault2: "unknown" };
  settings: CacheSettings;
  now: Instant = { at: new Date("2026-03-01T00:00:00Z"), boot: "boot-1", uptime: 1000 };

  constructor({ cache = "sealed", hours = 24, root = temporaryDirectory() }: WorldOptions = {}) {
    this.root = root;
    this.places = [
      { medium: "sealed", path: join(root, "sealed"), base: root },
      { medium: "memory", path: join(temporaryDirectory("/dev/shm"), "cache"), base: "/dev/shm" },
    ];
    this.settings = settingsWith({ cache, cacheHours: hours });
  }

  /** @param manner as a hook, if nothing else is said */
  async locate(record: KeyRecord, manner?: "copy" | "renew" | "look-up"): Promise<Location> {
    const keyring = this.keyring(record, manner);
    const located = await keyring.locate(keyUuidOf(record));
    await keyring.settled();
    return located;
  }

  /** Of a process of its own. */
  keyring(
    record: KeyRecord,
    manner: "copy" | "renew" | "look-up" = "copy",
    runner: CommandRunner = new ExecaCommandRunner(),
  ): Keyring {
    const { settings, places, now } = this;
    const cache = keyCacheFor({
      ...{ settings, places, manner, runner },
      now: () => now,
      warn: (message) => this.warnings.push(message),
    });
    return new Keyring(
      Object.keys(this.moods).map((name) => ({
        name,
        make: () => Promise.resolve(this.#keystore(name, record)),
      })),
      cache,
    );
  }

  /** `keystore` the passphrase, or the kind of the location with its error's code. */
  async outcome(record: KeyRecord, manner?: "copy" | "renew" | "look-up"): Promise<string> {
    const located = await this.locate(record, manner);
    switch (located.kind) {
      case "found": {
        using passphrase = located.key.passphrase;
        const from = located.cached === undefined ? located.keystore.name : "cache";
        return `${from}: ${passphrase.use(String)}`;
      }
      case "unknown":
        return located.kind;
      case "unavailable":
        return located.error.code;
    }
  }

  /** Time passes, by all clocks. */
  later(seconds: number): void {
    const { at, boot, uptime } = this.now;
    this.now = { at: new Date(at.getTime() + seconds * 1000), boot, uptime: uptime + seconds };
  }

  hoursLater(hours: number): void {
    this.later(hours * HOUR);
  }

  /** What is in the cache: the state of each key's copy, and where it is. */
  async copies(): Promise<string[]> {
    const copies = await listCopies(this.settings, this.places, this.now);
    return copies.map(({ medium, state }) => `${medium} ${state}`);
  }

  #keystore(name: string, record: KeyRecord) {
    const fetch = (): Promise<Key | undefined> => {
      const mood = this.moods[name]!;
      if (mood === "unknown") return Promise.resolve(undefined);
      if (mood !== "answers")
        return Promise.reject(new LuksmithError(mood, { what: `keystore ${name} does not answer` }));
      return Promise.resolve({ record, passphrase: Secret.own(Buffer.from(passphraseOf(record))) });
    };
    const never = () => Promise.reject(new Error("nobody does this here"));
    const others = { store: never, change: never, update: never, replace: never, find: never };
    return { name, type: "vault", fetch, ...others };
  }
}

export function passphraseOf({ uuid, generation }: Pick<KeyRecord, "uuid" | "generation">): string {
  return `passphrase${generation === undefined ? "" : ` number ${generation}`} of ${uuid}`;
}

export function activeRecord(change: Partial<KeyRecord> = {}): KeyRecord {
  return sampleRecord({ state: "active", profile: "default", ...change });
}

export function settingsWith(
  profile: { readonly cache?: string; readonly cacheHours?: number },
  ...more: readonly object[]
): CacheSettings {
  return parse({ profiles: [{ name: "default", ...profile }, ...more] });
}

/** The default profile with a sealed cache, under this protector. */
export function settingsUnder(protector: object): CacheSettings {
  return parse({ profiles: [{ name: "default", cache: "sealed" }], cache: { protector } });
}

function parse(settings: object): CacheSettings {
  const { profiles, cache } = parseSettings(JSON.stringify({ version: 1, ...settings }), "the test");
  const keystores = ["vault1", "vault2"].map((name) => ({ name, type: "vault" }));
  return { profiles, cache, keystores };
}
