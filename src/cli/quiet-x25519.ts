/**
 * Node 20 before 20.20 warns on standard error when age's key exchange uses Web Crypto, which is experimental there in name only: a
 * person who saves keys would ask what went wrong. Every other warning is shown.
 */
export function quietX25519(): void {
  const emit = process.emitWarning.bind(process) as (...args: unknown[]) => void;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]) => {
    const text = warning instanceof Error ? warning.message : warning;
    if (rest[0] === "ExperimentalWarning" && text.startsWith("The X25519 Web Crypto API")) return;
    emit(warning, ...rest);
  };
}
