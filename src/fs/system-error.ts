/** What the kernel refused, as Node reports it. */
export interface SystemError {
  /** `ENOSPC` */
  readonly code: string;
  /** `no space left on device, write`; with the path where Node knows it. */
  readonly text: string;
}

/** `thrown` as a system error, or undefined if it is something else. */
export function systemErrorOf(thrown: unknown): SystemError | undefined {
  if (!(thrown instanceof Error) || !("syscall" in thrown && "code" in thrown)) return undefined;
  const code = String(thrown.code);
  return { code, text: thrown.message.replace(`${code}: `, "") };
}
