import { Refused } from "./refused.js";

/** Says what became of the address that was opened. */
export function refusedToken(outcome: "wrong" | "used"): Refused {
  return new Refused(403, "token", WHY[outcome]);
}

const AGAIN = "run luksmith ui again, and open the address that it prints.";

const WHY = {
  wrong: `This is not the address that luksmith ui has printed. Open that one; if you do not have it, ${AGAIN}`,
  used: `This address works once, and was opened before. Use the tab that has the page; if there is none, end luksmith ui with Ctrl-C, ${AGAIN}`,
} as const;
