import { expect, it } from "vitest";
import { KeySession } from "../../src/plan/key-session.js";
import { Secret } from "../../src/secret/secret.js";
import { uuid } from "./builders.js";

const bytesOf = (secret: Secret) => secret.use((bytes) => bytes.toString("latin1"));
const wiped = "\0".repeat(6);

it("wipes every passphrase when it is over", () => {
  const passphrase = Secret.own(Buffer.from("sesame"));
  const session = new KeySession();
  session.add(uuid(1), { passphrase });
  expect(session.passphrase(uuid(1)).equals(passphrase)).toBe(true);
  session[Symbol.dispose]();
  expect(bytesOf(passphrase)).toBe(wiped);
});

it("wipes a passphrase that another one replaces", () => {
  using session = new KeySession();
  const first = Secret.own(Buffer.from("sesame"));
  session.add(uuid(1), { passphrase: first });
  session.add(uuid(1), { passphrase: Secret.own(Buffer.from("second")) });
  expect(bytesOf(first)).toBe(wiped);
});

it("wipes at once what comes when it is over", () => {
  const session = new KeySession();
  session[Symbol.dispose]();
  const late = Secret.own(Buffer.from("sesame"));
  session.add(uuid(1), { passphrase: late });
  expect(bytesOf(late)).toBe(wiped);
});

it("makes passphrases of 88 characters, each another", () => {
  using session = new KeySession();
  const [a, b] = [session.create(uuid(1)), session.create(uuid(2))];
  expect(a.length).toBe(88);
  expect(a.equals(b)).toBe(false);
});
