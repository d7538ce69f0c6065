import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import type { KeyRecord } from "../../../src/generated/key-record.js";
import type { SettingsOf } from "../../../src/keystore/index.js";
import { bytes, enumeration, structure, text } from "../../../src/keystore/kmip/fields.js";
import { KmipKeystore } from "../../../src/keystore/kmip/kmip-keystore.js";
import { STATE, TAG } from "../../../src/keystore/kmip/tags.js";
import type { Item } from "../../../src/keystore/kmip/ttlv.js";
import { type Authority, type KeyPair, makeAuthority } from "../../lab/certificates.js";
import { sampleRecord } from "../sample-key.js";
import {
  type Answer,
  type Asked,
  type FakeKmipServer,
  startFakeKmipServer,
  VERSION_1_4,
} from "./fake-kmip-server.js";

/** A FAKE server for each test, and keystores on it. */
export interface FakeKmipWorld {
  readonly fake: FakeKmipServer;
  /** Room for files; the test file's. */
  readonly directory: string;
  readonly settings: (change?: Partial<SettingsOf<"kmip">>) => SettingsOf<"kmip">;
  readonly keystore: (change?: Partial<SettingsOf<"kmip">>) => KmipKeystore;
  /** Answers as a server that has nothing does, but for what `answers` says. */
  readonly answering: (answers: Partial<Record<Asked["operation"], Answer>>) => void;
}

/** To be called at the top of a test file. */
export function fakeKmipWorld(): FakeKmipWorld {
  let directory: string;
  let authority: Authority;
  let client: KeyPair;
  let pair: KeyPair;
  let fake: FakeKmipServer;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "luksmith-kmip-fake-"));
    authority = await makeAuthority(directory);
    client = await authority.client("client", "host1");
    pair = await authority.server("fake");
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  beforeEach(async () => {
    fake = await startFakeKmipServer(pair, authority.caFile);
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });

  const settings: FakeKmipWorld["settings"] = (change = {}) => ({
    name: "kmip1",
    type: "kmip",
    host: "127.0.0.1",
    port: fake.port,
    version: "negotiated",
    object: "secret-data",
    group: "luksmith",
    timeout: 5,
    tls: { caFile: authority.caFile, ...client },
    ...change,
  });
  return {
    get fake() {
      return fake;
    },
    get directory() {
      return directory;
    },
    settings,
    keystore: (change) => new KmipKeystore(settings(change)),
    answering(answers) {
      fake.answer = ({ operation }) =>
        answers[operation] ?? (operation === "Discover Versions" ? VERSION_1_4 : []);
    },
  };
}

export const ids = (...found: string[]): Item[] => found.map((id) => text(TAG.UniqueIdentifier, id));

/** What Get Attributes answers about an object with our record. */
export function attributes(record: KeyRecord = sampleRecord(), state: number = STATE.Active): Item[] {
  const value = structure(
    TAG.AttributeValue,
    text(TAG.ApplicationNamespace, "luksmith"),
    text(TAG.ApplicationData, JSON.stringify({ version: 1, writer: "w", record })),
  );
  return [
    ...ids("7"),
    structure(TAG.Attribute, text(TAG.AttributeName, "State"), enumeration(TAG.AttributeValue, state)),
    structure(TAG.Attribute, text(TAG.AttributeName, "Application Specific Information"), value),
  ];
}

/** Its name or object group, too. */
export function attribute(name: "Name" | "Object Group", value: string): Item {
  const item =
    name === "Name"
      ? structure(TAG.AttributeValue, text(TAG.NameValue, value), enumeration(TAG.NameType, 1))
      : text(TAG.AttributeValue, value);
  return structure(TAG.Attribute, text(TAG.AttributeName, name), item);
}

/** What Get answers. */
export function object(id: string, material: Buffer, ...block: Item[]): Item[] {
  const value = structure(TAG.KeyValue, bytes(TAG.KeyMaterial, material));
  return [
    enumeration(TAG.ObjectType, 7),
    text(TAG.UniqueIdentifier, id),
    structure(
      TAG.SecretData,
      enumeration(TAG.SecretDataType, 1),
      structure(TAG.KeyBlock, enumeration(TAG.KeyFormatType, 2), value, ...block),
    ),
  ];
}
