import type { Container } from "../di.js";
import { asLuksmithError, type LuksmithError, renderError } from "../error/luksmith-error.js";
import type { Keystore } from "../keystore/keystore.js";
import { KEYRING, SETTINGS } from "../tokens.js";
import { type Problem, problemOf } from "../error/problem.js";

export interface Answers<T> {
  readonly answers: readonly { readonly keystore: Keystore; readonly answer: T }[];
  readonly failures: readonly { readonly keystore: string; readonly error: LuksmithError }[];
}

/** What every keystore of the settings answers, all asked at once: one that is down hides no other. */
export async function askKeystores<T>(
  container: Container,
  question: (keystore: Keystore) => Promise<T>,
): Promise<Answers<T>> {
  const keyring = container.resolve(KEYRING);
  const answers: { keystore: Keystore; answer: T }[] = [];
  const failures: { keystore: string; error: LuksmithError }[] = [];
  const ask = async (name: string) => {
    const keystore = await keyring.get(name);
    return { keystore, answer: await question(keystore) };
  };
  const names = container.resolve(SETTINGS).keystores.map(({ name }) => name);
  const asked = await Promise.allSettled(names.map(ask));
  // in the order of the settings, whoever answers first
  asked.forEach((result, index) => {
    if (result.status === "fulfilled") answers.push(result.value);
    else failures.push({ keystore: names[index] ?? "", error: asLuksmithError(result.reason) });
  });
  return { answers, failures };
}

/** Says on standard error which keystores could not be asked, and makes the command fail for it. */
export function reportFailures({ failures }: Pick<Answers<unknown>, "failures">): void {
  for (const { keystore, error } of failures) {
    process.stderr.write(`${renderError(error.within(`cannot ask keystore ${keystore}`))}\n`);
  }
  if (failures[0] !== undefined) process.exitCode = failures[0].error.exitCode;
}

/** The member of a JSON output that names them, if there are any. */
export function unavailableIn({ failures }: Pick<Answers<unknown>, "failures">): {
  unavailable?: { keystore: string; problem: Problem }[];
} {
  if (failures.length === 0) return {};
  return { unavailable: failures.map(({ keystore, error }) => ({ keystore, problem: problemOf(error) })) };
}
