import { fsyncSync, readFileSync, writeSync } from "node:fs";
import type * as pkcs11js from "pkcs11js";
import { pinMemory, type PinState } from "./pin-memory.js";
import { TOKEN_EXIT_CODES as EXIT } from "./pkcs11-exit-codes.js";

/**
 * A process of its own for a token's library, dist/tokens/pkcs11.js:
 * `encrypt|decrypt MODULE TOKEN KEY IV STAMP`, with the PIN on descriptor 3 and its memory on 4. 32 bytes come on standard input and go, through
 * AES-CBC under the token's key KEY, to standard output. The PIN becomes a string here, which the binding wants;
 * nobody wipes it, but this process ends at once.
 */
const [operation, modulePath = "", tokenLabel = "", keyLabel = "", iv = "", stamp = ""] =
  process.argv.slice(2);

/** How a token says that it has not looked at the PIN, and so not counted it. */
const UNTRIED =
  /CKR_(PIN_LOCKED|TOKEN_NOT_PRESENT|TOKEN_NOT_RECOGNIZED|USER_PIN_NOT_INITIALIZED|SESSION_HANDLE_INVALID|SESSION_CLOSED)/;

class Failure extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message);
  }
}

try {
  await main();
} catch (thrown) {
  // names of errors only: nothing here quotes what the token was given
  process.stderr.write(
    `${thrown instanceof Error ? (thrown.message.split("\n")[0] ?? "") : "unknown error"}\n`,
  );
  process.exitCode = thrown instanceof Failure ? thrown.exitCode : EXIT.failed;
}

async function main(): Promise<void> {
  const library = await load();
  const token = new library.PKCS11();
  orFail(EXIT.noModule, () => {
    token.load(modulePath);
    token.C_Initialize();
  });
  try {
    const session = token.C_OpenSession(slotOf(token), library.CKF_SERIAL_SESSION);
    logIn(library, token, session);
    const key = keyIn(library, token, session);
    const mechanism = { mechanism: library.CKM_AES_CBC, parameter: Buffer.from(iv, "hex") };
    const input = readFileSync(0);
    const output = Buffer.alloc(input.length);
    if (operation === "encrypt") {
      token.C_EncryptInit(session, mechanism, key);
      token.C_Encrypt(session, input, output);
    } else {
      token.C_DecryptInit(session, mechanism, key);
      token.C_Decrypt(session, input, output);
    }
    writeSync(1, output);
    input.fill(0);
    output.fill(0);
    token.C_Logout(session);
  } finally {
    token.C_Finalize();
  }
}

/** Optional: most hosts have no token, and it is compiled where it is installed. */
async function load(): Promise<typeof pkcs11js> {
  try {
    return (await import("pkcs11js")).default;
  } catch (thrown) {
    throw new Failure(EXIT.noLibrary, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function slotOf(token: pkcs11js.PKCS11): pkcs11js.Handle {
  const slot = token
    .C_GetSlotList(true)
    // fixed-size field, padded with spaces
    .find((handle) => token.C_GetTokenInfo(handle).label.trimEnd() === tokenLabel);
  if (slot === undefined) throw new Failure(EXIT.noToken, "no such token");
  return slot;
}

function logIn({ CKU_USER }: typeof pkcs11js, token: pkcs11js.PKCS11, session: pkcs11js.Handle): void {
  const pin = readFileSync(3, "utf8");
  orFail(EXIT.notRemembered, () => remember("trying"));
  try {
    token.C_Login(session, CKU_USER, pin);
  } catch (thrown) {
    const said = thrown instanceof Error ? thrown.message : "";
    if (UNTRIED.test(said)) tryToRemember("none");
    if (/CKR_PIN_LOCKED/.test(said)) throw new Failure(EXIT.pinLocked, "CKR_PIN_LOCKED");
    if (UNTRIED.test(said)) throw thrown;
    const rejected = /CKR_PIN_(INCORRECT|INVALID|LEN_RANGE)/.exec(said);
    if (rejected === null) throw new Failure(EXIT.loginFailed, said.split("\n")[0] ?? "");
    tryToRemember("rejected");
    throw new Failure(EXIT.pinRejected, rejected[0]);
  }
  tryToRemember("accepted");
}

/** On stable storage when it returns. */
function remember(state: PinState): void {
  writeSync(4, pinMemory(state, stamp), 0);
  fsyncSync(4);
}

/** Where it cannot be written, `trying` stays, which keeps the PIN from being tried as well. */
function tryToRemember(state: PinState): void {
  try {
    remember(state);
  } catch {
    // what the token said matters more
  }
}

function keyIn(library: typeof pkcs11js, token: pkcs11js.PKCS11, session: pkcs11js.Handle): pkcs11js.Handle {
  token.C_FindObjectsInit(session, [
    { type: library.CKA_CLASS, value: library.CKO_SECRET_KEY },
    { type: library.CKA_KEY_TYPE, value: library.CKK_AES },
    { type: library.CKA_LABEL, value: keyLabel },
  ]);
  const keys = token.C_FindObjects(session, 2);
  token.C_FindObjectsFinal(session);
  const [key] = keys;
  if (key === undefined) throw new Failure(EXIT.noKey, "no such key");
  if (keys.length > 1) throw new Failure(EXIT.failed, `two keys have the label ${keyLabel}`);
  return key;
}

function orFail(exitCode: number, work: () => void): void {
  try {
    work();
  } catch (thrown) {
    throw new Failure(exitCode, thrown instanceof Error ? thrown.message : String(thrown));
  }
}
