import { describe, expect, it } from "vitest";
import { BarbicanKeystore } from "../../src/keystore/barbican/barbican-keystore.js";
import { CircuitBreaker, guarded } from "../../src/keystore/circuit-breaker.js";
import { FileKeystore } from "../../src/keystore/file/file-keystore.js";
import type { Keystore } from "../../src/keystore/keystore.js";
import { KmipKeystore } from "../../src/keystore/kmip/kmip-keystore.js";
import { VaultKeystore } from "../../src/keystore/vault/vault-keystore.js";

describe("a keystore that is guarded", () => {
  it.each([FileKeystore, BarbicanKeystore, KmipKeystore, VaultKeystore])(
    "can do what %o can do, and no more",
    ({ prototype }) => {
      const can = Object.getOwnPropertyNames(prototype).filter((name) => name !== "constructor");
      const keystore = guarded(Object.create(prototype) as Keystore, new CircuitBreaker());
      const methods = Object.entries(keystore).filter(([, value]) => typeof value === "function");
      expect(methods.map(([name]) => name).sort()).toEqual(can.sort());
    },
  );
});
