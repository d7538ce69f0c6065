import { describe, expect, it } from "vitest";
import { SECRET_GONE } from "../../../src/settings/problems.js";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import { atFields, problemsIn } from "../../../src/ui/form/problems.js";
import { placeWords } from "../../../src/ui/form/words.js";

const FORM = settingsForm();
const CLOUD = {
  ...{ name: "cloud", type: "barbican" },
  keystone: { method: "password", url: "https://c.example:5000/v3", user: "u", project: "p" },
};

describe("problemsIn", () => {
  it("finds nothing wrong with settings that say next to nothing, and leaves them as they are", () => {
    const settings = { version: 1 };
    expect(problemsIn(FORM, settings)).toEqual([]);
    expect(settings).toEqual({ version: 1 });
  });

  it.each([
    ["/logFile", { version: 1, logFile: "relative" }, "This must be an absolute path."],
    ["/rotation/afterDays", { version: 1, rotation: { afterDays: "soon" } }, "This must be a whole number."],
    ["/profiles/0/name", { version: 1, profiles: [{ cipher: "aes-xts-plain64" }] }, "This is needed."],
    [
      "/profiles/0/keystore",
      { version: 1, profiles: [{ name: "default", keystore: "x" }] },
      "There is no keystore of this name; there is local.",
    ],
  ])("says at %s what is wrong", (pointer, settings, sentence) => {
    expect(problemsIn(FORM, settings)).toContainEqual({ pointer, sentence });
  });

  it("asks for the secret or its file, where both are missing", () => {
    expect(problemsIn(FORM, { version: 1, keystores: [CLOUD] })).toEqual([
      { pointer: "/keystores/0/keystone/password", sentence: "Type it in, or say below which file has it." },
    ]);
  });

  it("calls a namesake what the page calls it", () => {
    const named = (name: string) => ({ name, type: "file" });
    const settings = {
      version: 1,
      keystores: [named("local"), { ...named("local"), directory: "/srv/keys" }],
    };
    expect(problemsIn(FORM, settings)).toContainEqual({
      pointer: "/keystores/1/name",
      sentence: "Another keystore has this name.",
    });
    const profiles = { version: 1, profiles: [{ name: "default" }, { name: "default" }] };
    expect(problemsIn(FORM, profiles)).toEqual([
      { pointer: "/profiles/1/name", sentence: "Another profile has this name." },
    ]);
  });

  it("goes through the form from above", () => {
    const settings = {
      ...{ version: 1, logFile: "relative", rotation: { afterDays: "soon" } },
      rules: [{ name: "all", profile: "gone" }],
      profiles: [{ name: "default", keystore: "gone" }],
      keystores: [CLOUD, {}],
    };
    expect(problemsIn(FORM, settings).map(({ pointer }) => pointer)).toEqual([
      ...["/keystores/0/keystone/password", "/keystores/1/type"],
      ...["/profiles/0/keystore", "/rules/0/profile", "/rotation/afterDays", "/logFile"],
    ]);
  });

  it("takes the secret for its file", () => {
    const given = { ...CLOUD, keystone: { ...CLOUD.keystone, password: "s3cret" } };
    expect(problemsIn(FORM, { version: 1, keystores: [given] })).toEqual([]);
  });

  it("asks for the kind only, while nobody has chosen it: nothing else has a field yet", () => {
    expect(problemsIn(FORM, { version: 1, keystores: [{ name: "local", type: "file" }, {}] })).toEqual([
      { pointer: "/keystores/1/type", sentence: "This is needed." },
    ]);
  });

  it("never repeats a secret", () => {
    const given = { ...CLOUD, keystone: { ...CLOUD.keystone, password: "s3cret\n" } };
    expect(JSON.stringify(problemsIn(FORM, { version: 1, keystores: [given] }))).not.toContain("s3cret");
  });
});

describe("what the host says", () => {
  it("is shown once at each field", () => {
    const said = { pointer: "/logFile", sentence: "must be an absolute path" };
    expect(atFields(FORM, {}, [said, said])).toHaveLength(1);
  });

  it("is shown at the secret where the file is gone that Luksmith kept it in", () => {
    const stored = { ...CLOUD.keystone, passwordFile: "/etc/luksmith/secrets/cloud-password-0123456789ab" };
    const settings = { version: 1, keystores: [{ ...CLOUD, keystone: stored }] };
    const said = { pointer: "/keystores/0/keystone/passwordFile", sentence: SECRET_GONE };
    expect(atFields(FORM, settings, [said])).toEqual([
      {
        pointer: "/keystores/0/keystone/password",
        sentence: "The stored secret is gone. Type it in again, or say below which file has it.",
      },
    ]);
    const path = { ...said, sentence: "must be an absolute path" };
    expect(atFields(FORM, settings, [path])).toEqual([
      { pointer: said.pointer, sentence: "This must be an absolute path." },
    ]);
  });

  it("is told with the place as the page calls it", () => {
    const settings = { keystores: [CLOUD, {}] };
    expect(placeWords(FORM, settings, "/keystores/0/keystone/user")).toBe(
      "Keystores › cloud › Keystone › User",
    );
    expect(placeWords(FORM, settings, "/keystores/1/type")).toBe("Keystores › 2 › Type");
    expect(placeWords(FORM, settings, "")).toBe("Settings");
  });
});
