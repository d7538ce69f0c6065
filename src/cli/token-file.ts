import { fstatSync, readFileSync } from "node:fs";
import { isatty } from "node:tty";
import { Option } from "commander";
import { errnoOf, LuksmithError } from "../error/luksmith-error.js";
import { PRIVATE_FILE, readGuardedFile } from "../fs/guarded-file.js";
import { systemErrorOf } from "../fs/system-error.js";
import { Secret } from "../secret/secret.js";

const LIMIT = 64 * 1024;
const STDIN = 0;

/** What the command line says, whichever command it is for; commander calls the option's parser before the command. */
let path: string | undefined;
let token: Secret | undefined;

/** Names a file: a token in the arguments or the environment would be readable by others. */
export function tokenFileOption(): Option {
  return new Option(
    "--token-file <path>",
    "your Keystone token, for keystores that ask for one; - is standard input",
  ).argParser((given: string) => (path = given));
}

/** The token that was handed over for this command, if any: a part of KeystoreResources. Lives as long as we do. */
export function handedOver(): { readonly token?: Secret } {
  if (path !== undefined) token ??= readToken(path);
  return token === undefined ? {} : { token };
}

/** Without white space at its end. @throws USAGE, PERMISSIONS_UNSAFE */
function readToken(from: string): Secret {
  const bytes = readBytes(from);
  let length = bytes.length;
  while (length > 0 && (bytes[length - 1] ?? 0) <= 0x20) length--;
  if (length === 0) throw unreadable(from, "there is nothing in it");
  return Secret.own(bytes.subarray(0, length));
}

function readBytes(from: string): Buffer {
  const fd = from === "-" ? STDIN : descriptorOf(from);
  try {
    const bytes = fd === undefined ? readGuardedFile(from, PRIVATE_FILE, LIMIT) : readDescriptor(from, fd);
    if (bytes !== undefined) return bytes;
  } catch (thrown) {
    const failure = systemErrorOf(thrown);
    throw failure === undefined ? thrown : unreadable(from, failure.text);
  }
  throw unreadable(from, "there is no such file");
}

/** A shell's `<(COMMAND)` is a pipe, and has such a name. Opening it by its path would follow a symbolic link. */
function descriptorOf(from: string): number | undefined {
  const digits = /^\/(?:dev|proc\/self)\/fd\/(\d{1,6})$/.exec(from)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Waits for its end. */
function readDescriptor(from: string, fd: number): Buffer {
  if (isatty(fd)) throw unreadable(from, "it is a terminal, which would show the token");
  const stats = fstatSync(fd);
  // the others, which are Node's own, would never end
  if (!stats.isFIFO() && !stats.isFile() && !stats.isSocket())
    throw unreadable(from, "it is no pipe and no file");
  try {
    return readFileSync(fd);
  } catch (thrown) {
    throw errnoOf(thrown) === "EAGAIN" ? unreadable(from, "nothing comes from it") : thrown;
  }
}

function unreadable(from: string, why: string): LuksmithError {
  return new LuksmithError("USAGE", {
    what: `cannot read a token from ${from === "-" ? "standard input" : from}`,
    why,
    hint: "openstack token issue -f value -c id | luksmith --token-file - COMMAND",
  });
}
