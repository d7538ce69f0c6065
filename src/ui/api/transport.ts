import type { UiRequest } from "../../generated/ui-request.js";

/** How a page reaches the host that it was loaded from. */
export interface Transport {
  /** Runs the request's command there; resolves when it has ended, with any exit code. @throws HomeError */
  run(request: UiRequest, options?: RunOptions): Promise<Answer>;
  /** Goes to the host manager's own page of the guest, if it has one. */
  readonly showGuest?: (guestName: string) => void;
  /** Set where a command ends with the page that asked for it; elsewhere it goes on. */
  readonly endsWithPage?: true;
}

export interface RunOptions {
  /** Hears each line of standard output as it comes, without its end. */
  readonly onLine?: (line: string) => void;
}

export interface Answer {
  readonly exitCode: number;
  /** Whole, also where `onLine` heard it. */
  readonly stdout: string;
  readonly stderr: string;
}

/** The command was not run, or nobody knows whether it was. */
export class HomeError extends Error {
  /**
   * unreachable: nobody answers. busy: the command was not run, and can be later. expired: the session has ended.
   * forbidden: whoever is logged in may not. broken: an answer that is none.
   */
  readonly reason: "unreachable" | "busy" | "expired" | "forbidden" | "broken";

  constructor(reason: HomeError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "HomeError";
    this.reason = reason;
  }
}
