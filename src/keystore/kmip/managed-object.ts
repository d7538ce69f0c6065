import { Secret } from "../../secret/secret.js";
import { bytes, enumeration, integer, optional, required, structure } from "./fields.js";
import {
  ALGORITHM_HMAC_SHA512,
  KEY_FORMAT,
  OBJECT_TYPE,
  SECRET_DATA_TYPE_PASSWORD,
  TAG,
  USAGE,
} from "./tags.js";
import { type Item, TtlvError } from "./ttlv.js";

/** As what a passphrase is kept. */
export type ObjectKind = "secret-data" | "symmetric-key";

export interface ManagedObject {
  readonly type: number;
  /** Bits of the cryptographic usage mask, without which no server takes an object. */
  readonly usage: number;
  /** To be encoded at once: it holds the passphrase's own bytes. Throws if the passphrase was disposed of meanwhile. */
  item(): Item;
}

/**
 * The object that is `passphrase`, byte for byte.
 *
 * Secret data is what a passphrase is: type password, key format opaque (KMIP 1.4, section 2.2.7). A symmetric key
 * (section 2.2.2) must have an algorithm whose keys can have any length, which of the specification's the HMACs are: a
 * key of HMAC-SHA512 in raw format, its length in bits.
 */
export function objectOf(kind: ObjectKind, passphrase: Secret): ManagedObject {
  const value = () =>
    structure(
      TAG.KeyValue,
      bytes(
        TAG.KeyMaterial,
        passphrase.use((own) => own),
      ),
    );
  switch (kind) {
    case "secret-data": {
      const type = enumeration(TAG.SecretDataType, SECRET_DATA_TYPE_PASSWORD);
      const format = enumeration(TAG.KeyFormatType, KEY_FORMAT.Opaque);
      const item = () => structure(TAG.SecretData, type, structure(TAG.KeyBlock, format, value()));
      return { type: OBJECT_TYPE.SecretData, usage: USAGE.Verify, item };
    }
    case "symmetric-key": {
      const format = enumeration(TAG.KeyFormatType, KEY_FORMAT.Raw);
      const algorithm = enumeration(TAG.CryptographicAlgorithm, ALGORITHM_HMAC_SHA512);
      const length = integer(TAG.CryptographicLength, 8 * passphrase.length);
      const item = () =>
        structure(TAG.SymmetricKey, structure(TAG.KeyBlock, format, value(), algorithm, length));
      return { type: OBJECT_TYPE.SymmetricKey, usage: USAGE.MacGenerate | USAGE.MacVerify, item };
    }
  }
}

/**
 * The passphrase in an answer to Get, of either kind. The caller disposes of it.
 * @throws TtlvError if the answer is about another object than `id`, or the object is no passphrase in clear
 */
export function passphraseOf(payload: readonly Item[], id: string): Secret {
  if (required(payload, TAG.UniqueIdentifier, "text") !== id) throw new TtlvError("it is another object");
  const object = contentOf(payload, required(payload, TAG.ObjectType, "enumeration"));
  const block = required(object, TAG.KeyBlock, "structure");
  if (optional(block, TAG.KeyWrappingData, "structure") !== undefined) {
    throw new TtlvError("the passphrase is wrapped with another key");
  }
  const format = required(block, TAG.KeyFormatType, "enumeration");
  if (format !== KEY_FORMAT.Raw && format !== KEY_FORMAT.Opaque)
    throw new TtlvError("the key's format is not raw");
  const material = required(required(block, TAG.KeyValue, "structure"), TAG.KeyMaterial, "bytes");
  if (material.length === 0) throw new TtlvError("the passphrase is empty");
  return Secret.own(Buffer.from(material));
}

function contentOf(payload: readonly Item[], type: number): readonly Item[] {
  if (type === OBJECT_TYPE.SecretData) return required(payload, TAG.SecretData, "structure");
  if (type === OBJECT_TYPE.SymmetricKey) return required(payload, TAG.SymmetricKey, "structure");
  throw new TtlvError("the object is neither secret data nor a symmetric key");
}
