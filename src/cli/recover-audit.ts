import type { KeyUse } from "../audit/audit-log.js";
import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { AUDIT } from "../tokens.js";
import { open } from "./open.js";

type Recovery = Pick<KeyUse, "volume" | "key">;

/** What this host has, where it can be opened: settings may be what is broken. */
export function openIfPossible(): { readonly container?: Container; readonly problem?: string } {
  try {
    return { container: open() };
  } catch (thrown) {
    return { problem: asLuksmithError(thrown).message };
  }
}

/** Where nothing else works this is not to fail: then somebody else must write down who opened what. */
export class RecoverAudit {
  #hasWarned = false;

  constructor(
    private readonly recovery: Recovery,
    private readonly opened: ReturnType<typeof openIfPossible>,
  ) {}

  async done(detail: string): Promise<void> {
    await this.#record({ result: "done", detail });
  }

  async failed(thrown: unknown): Promise<void> {
    await this.#record({ result: "failed", code: asLuksmithError(thrown).code });
  }

  async #record(ending: Pick<KeyUse, "result" | "code" | "detail">): Promise<void> {
    const { container, problem } = this.opened;
    try {
      if (container === undefined) this.#warn(problem ?? "");
      else await container.resolve(AUDIT).record({ event: "recover", ...this.recovery, ...ending });
    } catch (thrown) {
      this.#warn(asLuksmithError(thrown).message);
    }
  }

  #warn(why: string): void {
    if (!this.#hasWarned) process.stderr.write(`warning: this is not in the audit log: ${why}\n`);
    this.#hasWarned = true;
  }
}
