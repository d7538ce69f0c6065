import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LuksmithError } from "../../src/error/luksmith-error.js";
import { readCredential } from "../../src/keystore/remote/credential-file.js";
import { takeApart } from "../../src/settings/given.js";
import { problemsOfGiven } from "../../src/settings/given-problems.js";
import { parseSettings } from "../../src/settings/load.js";
import { writeSecrets } from "../../src/settings/secret-files.js";
import { temporaryDirectory } from "../fs/tree.js";

const DIRECTORY = "/etc/luksmith/secrets";
const SECRET = "hunter2-hunter2";

const vault = (auth: object) => ({ name: "hq", type: "vault", url: "https://vault.example:8200", auth });
const keystone = (own: object) => ({
  name: "cloud",
  type: "barbican",
  keystone: { url: "https://cloud.example:5000/v3", ...own },
});
const pkcs11 = { type: "pkcs11", module: "/usr/lib/hsm.so", token: "luksmith", key: "master" };

const PLACES: [string, object, string[]][] = [
  [
    "kmip",
    { keystores: [{ name: "k", type: "kmip", host: "h", tls: {}, password: SECRET }] },
    ["k-password"],
  ],
  [
    "Keystone's password",
    { keystores: [keystone({ method: "password", user: "u", project: "p", password: SECRET })] },
    ["cloud-password"],
  ],
  [
    "an application credential",
    { keystores: [keystone({ method: "application-credential", id: "i", secret: SECRET })] },
    ["cloud-secret"],
  ],
  ["AppRole", { keystores: [vault({ method: "approle", roleId: "r", secretId: SECRET })] }, ["hq-secretId"]],
  ["a Vault token", { keystores: [vault({ method: "token", token: SECRET })] }, ["hq-token"]],
  ["a PIN", { keystores: [{ name: "f", type: "file", protector: { ...pkcs11, pin: SECRET } }] }, ["f-pin"]],
  ["the cache's PIN", { cache: { protector: { ...pkcs11, pin: SECRET } } }, ["cache-pin"]],
];

function given(settings: object, directory = DIRECTORY) {
  return takeApart(JSON.stringify({ version: 1, ...settings }), "test", directory);
}

function invalid(work: () => unknown): LuksmithError {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof LuksmithError && thrown.code === "SETTINGS_INVALID") return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

describe("settings that are given", () => {
  it("have no secret in their text that the same name, given again, takes out of force", () => {
    const keystores = (auth: object) => `"keystores": [${JSON.stringify(vault(auth))}]`;
    const twice = [
      { method: "token", token: SECRET },
      { method: "token", tokenFile: "/etc/token" },
    ];
    const text = `{"version": 1, ${twice.map(keystores).join(", ")}}`;
    using settings = takeApart(text, "test", DIRECTORY);
    expect(settings.text).not.toContain(SECRET);
    expect(JSON.parse(settings.text)).toEqual(JSON.parse(text));
  });

  it.each(['{ "version" :1,\t"logFile": "/a\\\\\\": 1" }\n', '{"version":1,"rules":[],"headers":{}}'])(
    "keep their text where no name is there twice: %s",
    (text) => {
      using settings = takeApart(text, "test", DIRECTORY);
      expect(settings.text).toBe(text);
    },
  );

  it.each(PLACES)("are taken apart: %s", (_, settings, [name = ""]) => {
    using taken = given(settings);
    expect(taken.text).not.toContain(SECRET);
    expect(taken.secrets).toHaveLength(1);
    const [{ path, secret } = { path: "", secret: undefined }] = taken.secrets;
    expect(path).toMatch(new RegExp(`^${DIRECTORY}/${name}-[0-9a-f]{12}$`));
    expect(secret?.use((bytes) => bytes.toString())).toBe(SECRET);
    expect(taken.text).toContain(JSON.stringify(path));
    expect(parseSettings(taken.text, "test")).toEqual(taken.settings);
  });

  it("give each secret a file that is new", () => {
    const [, settings = {}] = PLACES[4] ?? [];
    const paths = Array.from({ length: 20 }, () => given(settings).secrets[0]?.path);
    expect(new Set(paths).size).toBe(20);
  });

  it("keep their text to the byte where no secret is given", () => {
    const text = '{"version":1,\n\t"logLevel" : "warn"}\r\n';
    expect(takeApart(text, "test", DIRECTORY)).toMatchObject({ text, secrets: [] });
  });

  it("take a secret rather than the file that was named for it", () => {
    using taken = given({ keystores: [vault({ method: "token", token: SECRET, tokenFile: "/old" })] });
    expect(taken.text).not.toContain("/old");
    expect(taken.text).toContain("/hq-token-");
  });

  it("wipe the secrets when they are disposed of", () => {
    const taken = given({ keystores: [vault({ method: "token", token: SECRET })] });
    taken[Symbol.dispose]();
    expect(() => taken.secrets[0]?.secret.use(() => undefined)).toThrow("disposed");
  });

  it("give a keystore the very secret that was typed, whatever is in it", () => {
    fc.assert(
      fc.property(
        fc
          .string({ minLength: 1, maxLength: 200, unit: "grapheme" })
          .filter((text) => !/[\p{Cc}\p{Cs}]/u.test(text)),
        (typed) => {
          const directory = temporaryDirectory();
          using taken = given(
            { keystores: [vault({ method: "token", token: typed })] },
            join(directory, "s"),
          );
          writeSecrets(join(directory, "s"), taken.secrets);
          using read = readCredential(taken.secrets[0]?.path ?? "", "hq");
          expect(read.use((bytes) => bytes.toString())).toBe(typed);
        },
      ),
      { numRuns: 30 },
    );
  });

  it.each([
    ["", "must not be empty"],
    ["a\nb", "must be printable text, on one line"],
    ["\ud83d", "must be printable text, on one line"],
    ["x".repeat(4097), "must have at most 4096 characters"],
    [7, "must be a text, in double quotes"],
  ])("refuse what is no secret, and never quote it: %j", (token, sentence) => {
    const error = invalid(() => given({ keystores: [vault({ method: "token", token })] }));
    expect(error.fields).toEqual([{ pointer: "/keystores/0/auth/token", sentence }]);
    if (typeof token === "string" && token.length > 1) expect(error.why).not.toContain(token);
  });

  it.each(["..", "../../etc/shadow", "a/b", ".hidden", "a\u0000b", "-rf", "x".repeat(65)])(
    "make no file of a keystore's hostile name: %j",
    (name) => {
      const keystore = { ...vault({ method: "token", token: SECRET }), name };
      const error = invalid(() => given({ keystores: [keystore] }));
      expect(error.fields?.map(({ pointer }) => pointer)).toContain("/keystores/0/name");
      expect(`${error.message} ${error.why}`).not.toContain(SECRET);
    },
  );

  it("are refused where they are too long, with or without what is taken out", () => {
    const long = `{"version":1,"logFile":"/${"x".repeat(1 << 20)}"}`;
    expect(invalid(() => takeApart(long, "test", DIRECTORY)).fields?.[0]?.pointer).toBe("");
  });

  it("need the file where no secret is given, and nothing else is forgiven", () => {
    const problems = problemsOfGiven({ version: 1, keystores: [vault({ method: "token" })] });
    expect(problems.map(({ pointer, sentence }) => [pointer, sentence])).toEqual([
      ["/keystores/0/auth/tokenFile", "is missing"],
    ]);
    const others = problemsOfGiven({
      version: 1,
      keystores: [vault({ method: "approle", secretId: SECRET })],
    });
    expect(others.map(({ pointer }) => pointer)).toEqual(["/keystores/0/auth/roleId"]);
  });

  it("are left as they are by whoever looks for problems", () => {
    const settings = { version: 1, keystores: [vault({ method: "token", token: SECRET })] };
    const before = structuredClone(settings);
    expect(problemsOfGiven(settings)).toEqual([]);
    expect(settings).toEqual(before);
  });
});

describe("settings that are stored", () => {
  it.each(PLACES)("never have a secret: %s", (_, settings) => {
    const error = invalid(() => parseSettings(JSON.stringify({ version: 1, ...settings }), "test"));
    expect(error.why).toContain("luksmith settings set takes it");
    expect(error.why).not.toContain(SECRET);
  });
});

describe("the places of problems", () => {
  it("are JSON Pointers, exactly", () => {
    const error = invalid(() =>
      parseSettings(
        JSON.stringify({ version: 1, "a/b~c": 1, "0": 2, "": 3, rules: [{ name: "r", "x y": 1 }] }),
        "",
      ),
    );
    expect(error.fields?.map(({ pointer }) => pointer).sort()).toEqual(
      ["/", "/0", "/a~1b~0c", "/rules/0/x y"].sort(),
    );
  });

  it("lead to what is wrong", () => {
    const settings = {
      version: 1,
      keystores: [
        { name: "a", type: "punchcard" },
        { name: "b", type: "file", directory: "x" },
      ],
      profiles: [{ name: "default", keystore: "nowhere" }],
    };
    const error = invalid(() => parseSettings(JSON.stringify(settings), "test"));
    expect(error.fields?.map(({ pointer }) => pointer).sort()).toEqual([
      "/keystores/0/type",
      "/keystores/1/directory",
      "/profiles/0/keystore",
    ]);
    expect(error.within("task").fields).toEqual(error.fields);
  });

  it("use nothing but what runs in a browser, where pages say them at the field", () => {
    const seen = new Set<string>();
    const visit = (file: string) => {
      if (seen.has(file)) return;
      seen.add(file);
      const imports = [
        ...readFileSync(file, "utf8").matchAll(/^(?:import|export) (?!type).*from "([^"]+)"/gm),
      ];
      for (const [, from = ""] of imports) {
        if (from.endsWith(".cjs")) continue;
        expect(from).toMatch(/^\./);
        visit(join(dirname(file), from.replace(/\.js$/, ".ts")));
      }
    };
    visit("src/settings/given-problems.ts");
    expect([...seen]).toContain("src/settings/references.ts");
  });
});
