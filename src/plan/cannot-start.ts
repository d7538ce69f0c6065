import type { Guest } from "../host/host-adapter.js";

/** What a refusal begins with: a guest that migrates here runs already, and goes on where it was. */
export function cannotStart({ name, arrives }: Pick<Guest, "name" | "arrives">): string {
  return arrives ? `cannot take over guest ${name}` : `cannot start guest ${name}`;
}
