import type { FieldProblem, LuksmithError } from "./luksmith-error.js";

/** An error as the JSON outputs have it. */
export interface Problem {
  code: string;
  what: string;
  why?: string;
  hint?: string;
}

export function problemOf(error: LuksmithError): Problem {
  const { code, message: what, why, hint } = error;
  return { code, what, ...(why === undefined ? {} : { why }), ...(hint === undefined ? {} : { hint }) };
}

/** The same with the fields that are wrong: for the outputs whose schema has them. */
export function problemWithFields(error: LuksmithError): Problem & { fields?: FieldProblem[] } {
  const { fields } = error;
  return { ...problemOf(error), ...(fields === undefined ? {} : { fields: [...fields] }) };
}
