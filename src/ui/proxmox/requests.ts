import type { ApiResponse, Component } from "./ext.js";

/** Why a request was refused, or failed. */
export class RequestProblem extends Error {
  constructor(
    readonly what: string,
    readonly more: {
      readonly why?: string;
      readonly hint?: string;
      /** One of docs/errors.md, where luksmith itself has said no. */
      readonly code?: string;
      /** What is wrong with the settings, by JSON Pointer. */
      readonly fields: readonly { readonly pointer: string; readonly sentence: string }[];
    },
  ) {
    super(what);
    this.name = "RequestProblem";
  }
}

export interface Request {
  readonly method: "GET" | "PUT" | "POST";
  /** Below /api2/extjs. */
  readonly url: string;
  readonly params?: Readonly<Record<string, string>>;
}

/**
 * Asks Proxmox VE's API, with a mask over the component meanwhile. Never settles once the component is gone, which
 * nobody can write into. @throws RequestProblem
 */
export function request<T>(target: Component, asked: Request): Promise<T> {
  return new Promise((resolve, reject) => {
    const answered = (settle: () => void) => {
      if (target.destroyed !== true) settle();
    };
    Proxmox.Utils.API2Request({
      ...asked,
      // pveproxy gives up before
      timeout: 60_000,
      waitMsgTarget: target,
      success: ({ result }) => answered(() => resolve(result?.data as T)),
      failure: (response) => answered(() => reject(problemOf(response, asked))),
    });
  });
}

/** What pveproxy takes at most, before libpve-http-server-perl 5.2.1. */
const OLD_BODY_LIMIT = 64 * 1024;

function problemOf({ result, statusText }: ApiResponse, { params = {} }: Request): RequestProblem {
  const { cause: why, hint, code, ...others } = textsIn(result?.errors);
  const what = result?.message?.trim() ?? "";
  const size = Object.entries(params).reduce(
    (sum, [name, text]) => sum + encodeURIComponent(name + text).length + 2,
    0,
  );
  if (code === undefined && size > OLD_BODY_LIMIT) {
    return new RequestProblem("The settings are larger than what this web server takes.", {
      why: what === "" ? "64 KiB are the limit of older versions." : what,
      hint: "Change them in a shell of a node: luksmith settings set < FILE",
      fields: [],
    });
  }
  const entries = Object.entries(others);
  const fields = entries.filter(([name]) => name === "" || name.startsWith("/"));
  const parameters = entries.filter(([name]) => name !== "" && !name.startsWith("/"));
  const reason = why ?? (parameters.map(([name, text]) => `${name}: ${text}`).join("; ") || undefined);
  return new RequestProblem(what === "" ? (statusText ?? "Nobody answers.") : what, {
    ...(reason === undefined ? {} : { why: reason }),
    ...(hint === undefined ? {} : { hint }),
    ...(code === undefined ? {} : { code }),
    fields: fields.map(([pointer, sentence]) => ({ pointer, sentence })),
  });
}

function textsIn(errors: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(errors).map(([name, text]) => [name, String(text)]));
}
