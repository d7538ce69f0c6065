import { Command } from "commander";
import { readStandardInput } from "./standard-input.js";

/** Not for people: the storage plugin of Proxmox VE calls it. */
export function bridgeCommand(): Command {
  return new Command("bridge")
    .summary("one operation for the storage plugin of Proxmox VE: JSON on standard input and output")
    .action(async () => {
      const { runBridge } = await import("./run-bridge.js");
      const text = {
        what: "no request came from the storage plugin",
        hint: "Proxmox VE calls this command; see: luksmith --help",
      };
      // at once: the plugin waits, and a look into DNS, which nobody can abort, would go on
      process.exit(await runBridge(() => readStandardInput(text)));
    });
}
