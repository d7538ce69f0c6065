/**
 * Every error that Luksmith reports, once. A code is a contract: scripts match it, docs/errors.md explains it,
 * a retired code is never given a new meaning. `exit` is the exit code of the CLI and of a hook.
 */
export const EXIT = {
  ok: 0,
  /** Something failed that should have worked: a tool, a bug. */
  failure: 1,
  /** The command line is wrong. */
  usage: 2,
  /** Refused on purpose, to protect data or to keep a promise; nothing was changed. */
  refused: 3,
  /** A keystore, a host manager, a volume is not there now; trying again later can succeed. */
  unavailable: 4,
  /** Something on disk is damaged or not what its record says. */
  integrity: 5,
  /** Settings, manifest or permissions must be corrected by the administrator. */
  configuration: 6,
} as const;

export const CATALOGUE = {
  USAGE: { exit: EXIT.usage },
  INTERNAL: { exit: EXIT.failure },
  OUTPUT_UNWRITABLE: { exit: EXIT.failure },
  OUTPUT_EXISTS: { exit: EXIT.refused },
  NOT_CONFIRMED: { exit: EXIT.refused },

  MANIFEST_INVALID: { exit: EXIT.configuration },
  MANIFEST_API_VERSION: { exit: EXIT.configuration },
  SETTINGS_INVALID: { exit: EXIT.configuration },
  SETTINGS_UNREADABLE: { exit: EXIT.configuration },
  SETTINGS_UNWRITABLE: { exit: EXIT.failure },
  SETTINGS_CHANGED: { exit: EXIT.refused },
  KEYSTORE_UNKNOWN: { exit: EXIT.configuration },
  PROFILE_UNKNOWN: { exit: EXIT.configuration },
  PERMISSIONS_UNSAFE: { exit: EXIT.configuration },
  SECRET_FILE_UNAVAILABLE: { exit: EXIT.configuration },
  NOT_PERMITTED: { exit: EXIT.configuration },

  EVENT_INVALID: { exit: EXIT.failure },
  GUEST_CONFIG_INVALID: { exit: EXIT.refused },
  GUEST_CHANGED: { exit: EXIT.refused },
  GUEST_NOT_FOUND: { exit: EXIT.unavailable },
  GUEST_EXISTS: { exit: EXIT.refused },
  GUEST_RUNNING: { exit: EXIT.refused },
  GUEST_NOT_RUNNING: { exit: EXIT.refused },
  DISK_NOT_FOUND: { exit: EXIT.refused },
  DISK_EXISTS: { exit: EXIT.refused },
  DISK_ATTACH_FAILED: { exit: EXIT.failure },
  DISK_DETACH_FAILED: { exit: EXIT.failure },

  REQUEST_CONFLICT: { exit: EXIT.refused },
  REQUEST_INVALID: { exit: EXIT.refused },
  TRAIT_MISSING: { exit: EXIT.refused },
  DISK_NOT_ENCRYPTED: { exit: EXIT.refused },
  STORAGE_CHANGED: { exit: EXIT.refused },
  STORAGE_BASE_REFUSED: { exit: EXIT.refused },
  ENCRYPTION_BLOCK_LOST: { exit: EXIT.refused },
  OVERLAY_NOT_ENCRYPTED: { exit: EXIT.refused },
  ENCRYPTION_BLOCK_FOREIGN: { exit: EXIT.refused },

  VOLUME_UNSUPPORTED: { exit: EXIT.refused },
  VOLUME_NOT_FOUND: { exit: EXIT.unavailable },
  VOLUME_UNREADABLE: { exit: EXIT.unavailable },
  VOLUME_NOT_EMPTY: { exit: EXIT.refused },
  VOLUME_NOT_PROVEN_EMPTY: { exit: EXIT.refused },
  VOLUME_NOT_FORMATTED: { exit: EXIT.integrity },
  VOLUME_TOO_SMALL: { exit: EXIT.refused },
  VOLUME_BUSY: { exit: EXIT.refused },
  VOLUME_WRITE_FAILED: { exit: EXIT.failure },
  VOLUME_FORMAT_FORBIDDEN: { exit: EXIT.configuration },
  VOLUME_EXISTS: { exit: EXIT.refused },
  VOLUME_ALLOCATE_FAILED: { exit: EXIT.failure },
  VOLUME_WOULD_SHRINK: { exit: EXIT.refused },
  VOLUME_GROW_FAILED: { exit: EXIT.failure },
  LUKS_HEADER_INVALID: { exit: EXIT.integrity },
  LUKS_UUID_MISMATCH: { exit: EXIT.integrity },
  PASSPHRASE_REJECTED: { exit: EXIT.integrity },
  KEYSLOT_NOT_FREE: { exit: EXIT.refused },
  HEADER_BACKUP_MISSING: { exit: EXIT.unavailable },
  HEADER_BACKUP_INVALID: { exit: EXIT.integrity },
  HEADER_BACKUP_FAILED: { exit: EXIT.failure },
  CONVERSION_UNFINISHED: { exit: EXIT.refused },

  KEY_NOT_FOUND: { exit: EXIT.unavailable },
  KEY_EXISTS: { exit: EXIT.refused },
  KEY_IN_USE: { exit: EXIT.refused },
  KEY_CONFLICT: { exit: EXIT.refused },
  KEY_DELETED: { exit: EXIT.unavailable },
  KEY_CORRUPT: { exit: EXIT.integrity },
  MASTER_KEY_UNUSABLE: { exit: EXIT.integrity },
  PROTECTOR_UNAVAILABLE: { exit: EXIT.unavailable },
  PROTECTOR_DIFFERS: { exit: EXIT.configuration },
  PIN_REJECTED: { exit: EXIT.configuration },
  RECOVERY_EXISTS: { exit: EXIT.refused },
  RECOVERY_REJECTED: { exit: EXIT.refused },
  KEYSTORE_UNAVAILABLE: { exit: EXIT.unavailable },
  KEYSTORE_WRITE_FAILED: { exit: EXIT.failure },
  KEYSTORE_AUTH_FAILED: { exit: EXIT.configuration },
  KEYSTORE_CREDENTIAL_MISSING: { exit: EXIT.configuration },
  KEYSTORE_FORBIDDEN: { exit: EXIT.configuration },
  KEYSTORE_TLS_FAILED: { exit: EXIT.configuration },
  KEYSTORE_ANSWER_INVALID: { exit: EXIT.unavailable },

  KEY_ARCHIVED: { exit: EXIT.refused },
  ROTATION_REFUSED: { exit: EXIT.refused },
  SHRED_REFUSED: { exit: EXIT.refused },
  SHRED_NOT_APPROVED: { exit: EXIT.refused },
  DRILL_FAILED: { exit: EXIT.integrity },
  AUDIT_UNWRITABLE: { exit: EXIT.failure },
  AUDIT_BROKEN: { exit: EXIT.integrity },
  GUESTS_UNPROTECTED: { exit: EXIT.integrity },

  ESCROW_INVALID: { exit: EXIT.integrity },
  IDENTITY_REJECTED: { exit: EXIT.configuration },

  MAPPING_BUSY: { exit: EXIT.unavailable },
  MAPPING_FOREIGN: { exit: EXIT.refused },
  CONVERT_FAILED: { exit: EXIT.failure },

  STORAGE_NOT_COPIED: { exit: EXIT.refused },
  COPY_SHARES_KEY: { exit: EXIT.refused },
  MIGRATION_ANSWER_INVALID: { exit: EXIT.unavailable },
  SAVED_MEMORY_REFUSED: { exit: EXIT.refused },

  HOST_UNAVAILABLE: { exit: EXIT.unavailable },
  HOST_UNSUPPORTED: { exit: EXIT.refused },
  HOST_SECRET_FAILED: { exit: EXIT.failure },
  HOOK_NOT_INSTALLED: { exit: EXIT.configuration },
  HOOK_FOREIGN: { exit: EXIT.refused },
  HOOK_IN_USE: { exit: EXIT.refused },

  TOOL_MISSING: { exit: EXIT.configuration },
  TOOL_FAILED: { exit: EXIT.failure },
  TOOL_TIMEOUT: { exit: EXIT.unavailable },
  LOCK_TIMEOUT: { exit: EXIT.unavailable },
} as const satisfies Record<string, { readonly exit: number }>;

export type ErrorCode = keyof typeof CATALOGUE;
