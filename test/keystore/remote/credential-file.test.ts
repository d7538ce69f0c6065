import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../../src/error/catalogue.js";
import { type LuksmithError, renderError } from "../../../src/error/luksmith-error.js";
import { readCredential } from "../../../src/keystore/remote/credential-file.js";

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "luksmith-credential-"));
  file = join(directory, "token");
});
afterEach(() => rmSync(directory, { recursive: true }));
const write = (content: string | Buffer) => writeFileSync(file, content, { mode: 0o600 });

describe("a credential in a file", () => {
  it.each<[string, string | Buffer, string]>([
    ["as it is", "s3cret", "s3cret"],
    ["without the newline at its end", "s3cret\n", "s3cret"],
    ["with every newline but the last", "\ns3\ncret\n\n", "\ns3\ncret\n"],
    ["with blanks around it", " s3cret ", " s3cret "],
    ["with 64 KiB", "x".repeat(65536), "x".repeat(65536)],
  ])("is read %s", (_, content, credential) => {
    write(content);
    using secret = readCredential(file, "vault1");
    expect(secret.use(String)).toBe(credential);
  });

  it.each<[string, ErrorCode, () => void]>([
    ["is not there", "KEYSTORE_CREDENTIAL_MISSING", () => undefined],
    ["is empty", "KEYSTORE_CREDENTIAL_MISSING", () => write("")],
    ["has nothing but a newline", "KEYSTORE_CREDENTIAL_MISSING", () => write("\n")],
    ["is too long", "KEYSTORE_CREDENTIAL_MISSING", () => write("x".repeat(65538))],
    ["is a directory", "PERMISSIONS_UNSAFE", () => mkdirSync(file)],
    ["is a symbolic link", "PERMISSIONS_UNSAFE", () => symlinkSync("/etc/hostname", file)],
    [
      "can be read by others",
      "PERMISSIONS_UNSAFE",
      () => {
        write("s3cret");
        chmodSync(file, 0o640);
      },
    ],
  ])("is refused when it %s", (_, code, prepare) => {
    prepare();
    const thrown = ((): unknown => {
      try {
        return readCredential(file, "vault1");
      } catch (error) {
        return error;
      }
    })();
    expect(thrown).toMatchObject({ code });
    expect(renderError(thrown as LuksmithError)).toContain(file);
    expect(renderError(thrown as LuksmithError)).not.toContain("s3cret");
  });

  it("is refused below what is no directory", () => {
    write("s3cret");
    expect(() => readCredential(join(file, "below"), "vault1")).toThrow(
      expect.objectContaining({ code: "KEYSTORE_CREDENTIAL_MISSING" }),
    );
  });
});
