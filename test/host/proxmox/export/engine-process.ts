import { asLuksmithError } from "../../../../src/error/luksmith-error.js";
import type { ProxmoxStorage } from "../../../../src/generated/proxmox-storage.js";
import { ExportWorkshop } from "./export-workshop.js";

/** The one argument of this script, as JSON. */
export interface EngineOrder {
  readonly root: string;
  readonly base: ProxmoxStorage["base"];
  readonly op: "open" | "close";
  readonly volume: string;
}

/** Opens or closes an export of a workshop in a process of its own, to be killed. Prints `done` or the error's code. */
async function main({ root, base, op, volume }: EngineOrder): Promise<string> {
  // not disposed of: it is another process's
  const workshop = new ExportWorkshop(base, root);
  try {
    await workshop[op](volume);
    return "done";
  } catch (thrown) {
    return asLuksmithError(thrown).code;
  }
}

process.stdout.write(await main(JSON.parse(process.argv[2] ?? "{}") as EngineOrder));
