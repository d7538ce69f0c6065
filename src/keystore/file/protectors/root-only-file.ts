import { Secret } from "../../../secret/secret.js";
import { MASTER_KEY_BYTES, type Protector } from "../protector.js";

/**
 * The master key in clear in a file that only root reads: it protects a copy of the records alone, not a copy of the
 * whole directory. Base64 passes through strings, which nobody can wipe: copies stay in memory until they are reused.
 */
export const rootOnlyFile: Protector<"file"> = {
  protect: (masterKey) => Promise.resolve({ key: masterKey.use((bytes) => bytes.toString("base64")) }),

  unprotect: ({ key }) => {
    const bytes = Buffer.alloc(MASTER_KEY_BYTES);
    bytes.write(key, "base64");
    return Promise.resolve(Secret.own(bytes));
  },
};
