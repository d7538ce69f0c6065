import type { EncryptionProvider, ProviderName } from "../../src/encryption/encryption-provider.js";
import type { EncryptionFormat } from "../../src/encryption/luks-spec.js";
import { type Trait, traitsOf } from "../../src/encryption/traits.js";

/** Promises what it is told to, and formats nothing. */
export class FakeProvider implements EncryptionProvider {
  constructor(
    readonly name: ProviderName,
    readonly formats: readonly EncryptionFormat[],
    private readonly able: readonly EncryptionFormat[] = formats,
  ) {}

  traits(): Promise<readonly Trait[]> {
    return Promise.resolve(traitsOf(this.able));
  }

  obstacles(): Promise<readonly string[]> {
    return Promise.resolve(this.able.length === this.formats.length ? [] : [`${this.name} is broken here`]);
  }

  format(): Promise<void> {
    return Promise.reject(new Error("nobody asked for a format"));
  }
}
