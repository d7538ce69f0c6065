import { expect, it } from "vitest";
import { KeySession } from "../../src/plan/key-session.js";
import { Secret } from "../../src/secret/secret.js";
import { uuid } from "./builders.js";

const WIPED = Buffer.alloc(6);

/** A passphrase, and the bytes that it owns: what a wipe leaves is seen there. */
function passphraseIn(bytes: Buffer): { passphrase: Secret } {
  return { passphrase: Secret.own(bytes) };
}

it("wipes every passphrase when it is over", () => {
  const bytes = Buffer.from("sesame");
  const session = new KeySession();
  session.add(uuid(1), passphraseIn(bytes));
  expect(session.passphrase(uuid(1)).length).toBe(6);
  session[Symbol.dispose]();
  expect(bytes).toEqual(WIPED);
});

it("wipes a passphrase that another one replaces", () => {
  using session = new KeySession();
  const bytes = Buffer.from("sesame");
  session.add(uuid(1), passphraseIn(bytes));
  session.add(uuid(1), passphraseIn(Buffer.from("second")));
  expect(bytes).toEqual(WIPED);
});

it("wipes at once what comes when it is over", () => {
  const session = new KeySession();
  session[Symbol.dispose]();
  const bytes = Buffer.from("sesame");
  session.add(uuid(1), passphraseIn(bytes));
  expect(bytes).toEqual(WIPED);
});

it("makes passphrases of 88 characters, each another", () => {
  using session = new KeySession();
  const [a, b] = [session.create(uuid(1)), session.create(uuid(2))];
  expect(a.length).toBe(88);
  expect(a.equals(b)).toBe(false);
});
