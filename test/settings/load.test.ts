import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LuksmithError } from "../../src/error/luksmith-error.js";
import { loadSettings, parseSettings, readSettings } from "../../src/settings/load.js";
import type { EffectiveSettings } from "../../src/settings/settings.js";
import { temporaryDirectory } from "../fs/tree.js";

const DEFAULTS: EffectiveSettings = {
  version: 1,
  keystores: [
    { name: "local", type: "file", directory: "/var/lib/luksmith/keystore", protector: { type: "file" } },
  ],
  profiles: [
    {
      name: "default",
      format: "luks",
      cipher: "aes-xts-plain64",
      keySize: 512,
      hash: "sha256",
      keystore: "local",
      cache: "off",
      cacheHours: 24,
      recovery: [],
    },
  ],
  rules: [],
  storage: {
    raw: { formatting: "new-volumes" },
    qcow2: { formatting: "new-volumes" },
    zfs: { formatting: "new-volumes" },
    rbd: { formatting: "new-volumes", user: "admin", conf: "/etc/ceph/ceph.conf", engine: "qemu" },
    lvm: { formatting: "new-volumes" },
    "lvm-thin": { formatting: "new-volumes" },
    block: { formatting: "new-volumes" },
  },
  encryption: { engine: "auto" },
  legacy: { enabled: false, cipher: "aes-xts-plain64", keySize: 512, hash: "ripemd160" },
  proxmox: { annotate: true, keepFreedKeys: 30 },
  cache: { protector: { type: "file" } },
  headers: { directory: "/var/lib/luksmith/headers", keep: 3 },
  rotation: { afterDays: 0, keepFormer: 30 },
  recovery: { directory: "/var/lib/luksmith/escrow" },
  audit: { file: "/var/log/luksmith/audit.log", required: false },
  shred: { persons: 1 },
  libvirtUri: "qemu:///system",
  logFile: "/var/log/luksmith/luksmith.log",
  savedMemory: "warn",
  logLevel: "info",
};

function fileWith(content: string | Uint8Array): string {
  const path = join(temporaryDirectory(), "settings.json");
  writeFileSync(path, content, { mode: 0o644 });
  return path;
}

function errorOf(work: () => unknown): LuksmithError {
  try {
    work();
  } catch (thrown) {
    return thrown as LuksmithError;
  }
  throw new Error("nothing was thrown");
}

/** The lines of SETTINGS_INVALID. */
function complaints(settings: unknown): string[] {
  const error = errorOf(() => parseSettings(JSON.stringify(settings), "test"));
  expect(error.code).toBe("SETTINGS_INVALID");
  return error.why!.split("\n");
}

describe("settings: defaults", () => {
  it("hold where there is no file, or nothing but a version in it", () => {
    expect(loadSettings(join(temporaryDirectory(), "none/settings.json"))).toEqual(DEFAULTS);
    expect(loadSettings(fileWith('{"version": 1}'))).toEqual(DEFAULTS);
    expect(loadSettings(fileWith('\ufeff{"version":1}'))).toEqual(DEFAULTS);
  });

  it("fill in what keystores, profiles and rules leave out", () => {
    const settings = {
      version: 1,
      keystores: [
        { name: "fast", type: "file", directory: "/srv/keys" },
        { name: "plain", type: "file" },
      ],
      profiles: [
        { name: "default" },
        { name: "cbc", cipher: "aes-cbc-essiv:sha256", keySize: 256, keystore: "plain" },
      ],
      rules: [
        { name: "finance", guest: "finance-*", profile: "cbc" },
        { name: "rest", encrypt: false },
      ],
      logLevel: "debug",
    };
    expect(parseSettings(JSON.stringify(settings), "test")).toEqual({
      ...DEFAULTS,
      keystores: [
        { ...settings.keystores[0], protector: { type: "file" } },
        { ...DEFAULTS.keystores[0], name: "plain" },
      ],
      profiles: [
        { ...DEFAULTS.profiles[0], keystore: "fast" },
        { ...DEFAULTS.profiles[0], ...settings.profiles[1] },
      ],
      rules: [{ name: "finance", encrypt: true, guest: "finance-*", profile: "cbc" }, settings.rules[1]],
      logLevel: "debug",
    });
  });

  it("once filled in are settings that mean the same", () => {
    expect(parseSettings(JSON.stringify(DEFAULTS), "test")).toEqual(DEFAULTS);
  });
});

describe("settings: errors", () => {
  it("are listed all at once, each with its path", () => {
    expect(
      complaints({
        version: 2,
        keystores: [
          { name: "a", type: "punchcard" },
          { name: "-", type: "file", directory: "relative" },
          { type: "file", dir: 1 },
          { name: "a", type: "file" },
          {},
          7,
        ],
        profiles: [{ name: "p", keystore: "nowhere", cipher: "rot13", keySize: 42 }, { name: "p" }],
        rules: [{ name: "r", guest: "", encrypt: "yes", profile: "q", "a b": 1 }, { name: "r" }, "rule"],
        libvirtUri: "here",
        logFile: 7,
        logLevel: "loud",
        extra: {},
      }).sort(),
    ).toEqual(
      [
        "version: must be 1",
        "keystores[0].type: must be one of file, barbican, kmip, vault",
        "keystores[1].name: must be a name: at most 64 letters, digits, dots, dashes and underscores, the first a letter or digit",
        "keystores[1].directory: must be an absolute path",
        "keystores[2].name: is missing",
        "keystores[2].dir: is not a setting",
        "keystores[3].name: is the name of keystores[0] already",
        "keystores[4].name: is missing",
        "keystores[4].type: is missing",
        "keystores[5]: must be an object, in {}",
        "profiles: one must be named default, for whoever asks for no other",
        "profiles[0].cipher: must be one of aes-xts-plain64, aes-cbc-essiv:sha256",
        "profiles[0].keySize: must be one of 256, 512",
        "profiles[0].keystore: there is no keystore of this name; there is a, -",
        "profiles[1].name: is the name of profiles[0] already",
        "rules[0].guest: must not be empty",
        "rules[0].encrypt: must be true or false",
        "rules[0].profile: there is no profile of this name; there is p",
        'rules[0]["a b"]: is not a setting',
        "rules[1].name: is the name of rules[0] already",
        "rules[2]: must be an object, in {}",
        "libvirtUri: must be a URI such as qemu:///system",
        "logFile: must be a text, in double quotes",
        "logLevel: must be one of error, warn, info, debug",
        "extra: is not a setting",
      ].sort(),
    );
  });

  it.each([
    ["a list", [], ["settings: must be an object, in {}"]],
    ["a text", "x", ["settings: must be an object, in {}"]],
    ["nothing", null, ["settings: must be an object, in {}"]],
    ["no version", {}, ["version: is missing"]],
    ["no keystores", { version: 1, keystores: [] }, ["keystores: must have at least one entry"]],
    ["keystores in an object", { version: 1, keystores: {} }, ["keystores: must be a list, in []"]],
    [
      "a key that the cipher does not take",
      { version: 1, profiles: [{ name: "default", cipher: "aes-cbc-essiv:sha256" }] },
      ["profiles[0].keySize: must be 256 for the cipher aes-cbc-essiv:sha256"],
    ],
    [
      "a Barbican that has no Keystone and tells neither its address nor its project",
      { version: 1, keystores: [{ name: "local", type: "barbican" }] },
      [
        "keystores[0].url: is needed where there is no keystone",
        "keystores[0].projectId: is needed where there is no keystone",
      ],
    ],
  ])("are told for %s", (_, settings, expected) => {
    const found = complaints(settings);
    expect(found.filter((line) => !line.startsWith("profiles[0].keystore"))).toEqual(expected);
  });

  it("never quote a value, which may be a secret", () => {
    const secret = "hunter2hunter2";
    const everywhere = {
      version: secret,
      keystores: [{ name: { a: secret }, type: secret }],
      profiles: secret,
      rules: [{ name: `${secret} `, guest: [secret] }],
    };
    expect(complaints(everywhere).join()).not.toContain(secret);
  });

  it.each([
    ["{", "line 1, column 2: expected a name in double quotes, found the end"],
    ["", "line 1, column 1: expected a value, found the end"],
    ['{\n  "version": 1,\n}', "line 3, column 1: expected a name in double quotes, found }"],
    ['{"version": 1} // mine', "line 1, column 16: expected nothing more, found /"],
  ])("of syntax name line and column: %j", (text, expected) => {
    const error = errorOf(() => loadSettings(fileWith(text)));
    expect([error.code, error.why]).toEqual(["SETTINGS_INVALID", expected]);
  });

  it("are told for bytes that are not UTF-8 and for a file that is far too long", () => {
    expect(errorOf(() => loadSettings(fileWith(Buffer.from([0x7b, 0xff])))).code).toBe("SETTINGS_INVALID");
    expect(errorOf(() => loadSettings(fileWith(`{"version":1}${" ".repeat(1 << 20)}`))).code).toBe(
      "SETTINGS_INVALID",
    );
  });
});

describe("settings: the file", () => {
  it.each([0o020, 0o002])("is refused when others may write it (%o), and the cure is named", (bits) => {
    const path = fileWith('{"version":1}');
    chmodSync(path, 0o644 | bits);
    const error = errorOf(() => loadSettings(path));
    expect(error.code).toBe("PERMISSIONS_UNSAFE");
    execFileSync("sh", ["-c", error.hint!]);
    expect(loadSettings(path)).toEqual(DEFAULTS);
  });

  it("is refused when it is not root's, and the cure is named", () => {
    const path = fileWith('{"version":1}');
    chownSync(path, 65534, 65534);
    const error = errorOf(() => loadSettings(path));
    expect(error.code).toBe("PERMISSIONS_UNSAFE");
    execFileSync("sh", ["-c", error.hint!]);
    expect(loadSettings(path)).toEqual(DEFAULTS);
  });

  it("may be readable by all, by its group, or by root alone", () => {
    const path = fileWith('{"version":1}');
    for (const mode of [0o644, 0o640, 0o600, 0o400]) {
      chmodSync(path, mode);
      expect(loadSettings(path)).toEqual(DEFAULTS);
    }
  });

  it("is refused when it is a symbolic link or a directory: no rule is lost in silence", () => {
    const path = fileWith('{"version":1}');
    renameSync(path, `${path}.real`);
    symlinkSync(`${path}.real`, path);
    expect(errorOf(() => loadSettings(path)).code).toBe("PERMISSIONS_UNSAFE");
    const directory = join(temporaryDirectory(), "settings.json");
    mkdirSync(directory);
    expect(errorOf(() => loadSettings(directory)).code).toBe("PERMISSIONS_UNSAFE");
  });

  it("that cannot be read is an error, and not the defaults", () => {
    const path = fileWith('{"version":1}');
    process.seteuid!(65534);
    try {
      expect(errorOf(() => loadSettings(path)).code).toBe("SETTINGS_UNREADABLE");
    } finally {
      process.seteuid!(0);
    }
  });

  it("comes with its text and its digest", () => {
    const text = '{ "version": 1, "logLevel": "warn" }\n';
    const read = readSettings(fileWith(text));
    expect(read.text).toBe(text);
    expect(read.digest).toBe(createHash("sha256").update(text).digest("hex"));
    expect(read.settings.logLevel).toBe("warn");
    const missing = readSettings(join(temporaryDirectory(), "none"));
    expect([missing.text, missing.digest]).toEqual(["", createHash("sha256").digest("hex")]);
  });
});
