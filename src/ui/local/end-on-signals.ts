import { EXIT } from "../../error/catalogue.js";
import { visible } from "../../error/printable.js";
import type { LocalServer } from "./local-server.js";

/** Milliseconds that commands have to end before their time; what needs longer goes on without the server. */
const PATIENCE = 10_000;

/** A change that runs is finished first. Whoever does not want to wait says so again. */
export function endOnSignals(server: LocalServer, patience = PATIENCE): void {
  // never a second question: of the end of one terminal, the kernel and the shell send several
  process.on("SIGHUP", () => server.end());
  let isAsked = false;
  const onAsked = () => {
    const running = server.running.map(visible).join(", ");
    if (running !== "" && isAsked) stop(server, patience);
    else if (running !== "") process.stderr.write(`waiting for: ${running} (Ctrl-C again ends it as well)\n`);
    isAsked = true;
    server.end();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, onAsked);
}

function stop(server: LocalServer, patience: number): void {
  process.exitCode = EXIT.failure;
  server.stop();
  setTimeout(() => process.exit(), patience).unref();
}
