import { describe, expect, it } from "vitest";
import { settingsForm } from "../../../src/ui/form/fields-of.js";
import type { Json } from "../../../src/ui/form/json.js";
import { keystoresLost } from "../../../src/ui/form/losses.js";

const FORM = settingsForm();
const LOCAL = { name: "local", type: "file" };
const VAULT = { name: "vault", type: "vault", url: "https://v.example" };
const BASE = { version: 1, keystores: [LOCAL, VAULT] };
const withKeystores = (...keystores: Json[]) => ({ ...BASE, keystores });

describe("keystores that are lost with a save", () => {
  it.each([
    ["removed", withKeystores(LOCAL), { name: "vault", why: "gone" }],
    ["renamed", withKeystores(LOCAL, { ...VAULT, name: "safe" }), { name: "vault", why: "gone" }],
    ["without a name", withKeystores(LOCAL, { type: "vault" }), { name: "vault", why: "gone" }],
    [
      "of another type",
      withKeystores(LOCAL, { name: "vault", type: "kmip" }),
      { name: "vault", why: "type" },
    ],
    [
      "in another directory",
      withKeystores({ ...LOCAL, directory: "/other" }, VAULT),
      { name: "local", why: "directory" },
    ],
  ])("are those that are %s", (_, edited, loss) => {
    expect(keystoresLost(FORM, BASE, edited)).toEqual([loss]);
  });

  it("are none that only came, moved, were edited, or have their default written down", () => {
    const written = { ...LOCAL, directory: "/var/lib/luksmith/keystore" };
    const edited = withKeystores({ name: "new", type: "kmip" }, { ...VAULT, timeout: 20 }, written);
    expect(keystoresLost(FORM, BASE, edited)).toEqual([]);
    expect(keystoresLost(FORM, edited, withKeystores(...edited.keystores.slice(1), LOCAL))).toEqual([
      { name: "new", why: "gone" },
    ]);
  });

  it("are also the one that holds while the settings name none", () => {
    expect(keystoresLost(FORM, { version: 1 }, { version: 1, logLevel: "debug" })).toEqual([]);
    expect(keystoresLost(FORM, { version: 1 }, withKeystores(VAULT))).toEqual([
      { name: "local", why: "gone" },
    ]);
  });
});
