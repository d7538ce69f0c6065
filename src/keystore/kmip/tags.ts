/** Numbers of KMIP, by the names of the specification, version 1.4, section 9.1.3, and of 2.0 what is said to be. */

/** KMIP 1.4, section 9.1.3.1; those from 0x420125 on are of 2.0. */
export const TAG = {
  ApplicationData: 0x420002,
  ApplicationNamespace: 0x420003,
  ApplicationSpecificInformation: 0x420004,
  Attribute: 0x420008,
  AttributeIndex: 0x420009,
  AttributeName: 0x42000a,
  AttributeValue: 0x42000b,
  Authentication: 0x42000c,
  BatchCount: 0x42000d,
  BatchErrorContinuationOption: 0x42000e,
  BatchItem: 0x42000f,
  BatchOrderOption: 0x420010,
  Credential: 0x420023,
  CredentialType: 0x420024,
  CredentialValue: 0x420025,
  CryptographicAlgorithm: 0x420028,
  CryptographicLength: 0x42002a,
  CryptographicUsageMask: 0x42002c,
  KeyBlock: 0x420040,
  KeyFormatType: 0x420042,
  KeyMaterial: 0x420043,
  KeyValue: 0x420045,
  KeyWrappingData: 0x420046,
  MaximumResponseSize: 0x420050,
  Name: 0x420053,
  NameType: 0x420054,
  NameValue: 0x420055,
  ObjectGroup: 0x420056,
  ObjectType: 0x420057,
  Operation: 0x42005c,
  ProtocolVersion: 0x420069,
  ProtocolVersionMajor: 0x42006a,
  ProtocolVersionMinor: 0x42006b,
  QueryFunction: 0x420074,
  RequestHeader: 0x420077,
  RequestMessage: 0x420078,
  RequestPayload: 0x420079,
  ResponseHeader: 0x42007a,
  ResponseMessage: 0x42007b,
  ResponsePayload: 0x42007c,
  ResultMessage: 0x42007d,
  ResultReason: 0x42007e,
  ResultStatus: 0x42007f,
  RevocationReason: 0x420081,
  RevocationReasonCode: 0x420082,
  SecretData: 0x420085,
  SecretDataType: 0x420086,
  State: 0x42008d,
  SymmetricKey: 0x42008f,
  TemplateAttribute: 0x420091,
  UniqueBatchItemId: 0x420093,
  UniqueIdentifier: 0x420094,
  Username: 0x420099,
  Password: 0x4200a1,
  LocatedItems: 0x4200d5,
  Attributes: 0x420125,
  AttributeReference: 0x42013b,
  CurrentAttribute: 0x42013c,
  NewAttribute: 0x42013d,
} as const;

/** KMIP 1.4, section 9.1.3.2.27 */
export const OPERATION = {
  Register: 0x03,
  Locate: 0x08,
  Get: 0x0a,
  "Get Attributes": 0x0b,
  "Modify Attribute": 0x0e,
  Activate: 0x12,
  Revoke: 0x13,
  Destroy: 0x14,
  Query: 0x18,
  "Discover Versions": 0x1e,
} as const;
export type OperationName = keyof typeof OPERATION;

/** KMIP 1.4, section 9.1.3.2.28 */
export const RESULT_STATUS_SUCCESS = 0;

/** KMIP 1.4, section 9.1.3.2.29; those from 0x19 on are of 2.0. */
export const REASON = {
  ItemNotFound: 0x01,
  ResponseTooLarge: 0x02,
  AuthenticationNotSuccessful: 0x03,
  InvalidMessage: 0x04,
  OperationNotSupported: 0x05,
  InvalidField: 0x07,
  PermissionDenied: 0x0c,
  Sensitive: 0x16,
  NotExtractable: 0x17,
  ObjectAlreadyExists: 0x18,
  AttributeInstanceNotFound: 0x20,
  AttributeNotFound: 0x21,
  BadPassword: 0x25,
  NonUniqueNameAttribute: 0x35,
  ObjectDestroyed: 0x36,
  ObjectNotFound: 0x37,
  NotAuthorised: 0x39,
  ServerLimitExceeded: 0x3a,
} as const;

/** KMIP 1.4, section 9.1.3.2.12 */
export const OBJECT_TYPE = { SymmetricKey: 2, SecretData: 7 } as const;

/** KMIP 1.4, section 9.1.3.2.18 */
export const STATE = {
  PreActive: 1,
  Active: 2,
  Deactivated: 3,
  Compromised: 4,
  Destroyed: 5,
  DestroyedCompromised: 6,
};

/** KMIP 1.4, section 9.1.3.2.3 */
export const KEY_FORMAT = { Raw: 1, Opaque: 2 } as const;

/** KMIP 1.4, section 9.1.3.2.9 */
export const SECRET_DATA_TYPE_PASSWORD = 1;

/** KMIP 1.4, section 9.1.3.2.13 */
export const ALGORITHM_HMAC_SHA512 = 0x0b;

/** KMIP 1.4, section 9.1.3.3.1 */
export const USAGE = { Verify: 0x02, MacGenerate: 0x80, MacVerify: 0x100 } as const;

/** KMIP 1.4, section 9.1.3.2.11 */
export const NAME_TYPE_TEXT = 1;

/** KMIP 1.4, section 9.1.3.2.30 */
export const BATCH_ERROR_CONTINUE = 1;

/** KMIP 1.4, section 9.1.3.2.1 */
export const CREDENTIAL_USERNAME_AND_PASSWORD = 1;

/** KMIP 1.4, section 9.1.3.2.19 */
export const REVOCATION_CESSATION_OF_OPERATION = 6;

/** KMIP 1.4, section 9.1.3.2.24 */
export const QUERY_OPERATIONS = 1;
