import type { SystemError } from "./system-error.js";

/**
 * What may help where root may not write. Only file systems with rules of their own say EACCES to root: pmxcfs does
 * while its cluster has no quorum, and network file systems do.
 */
export function hintForRefusal({ code }: SystemError): { readonly hint?: string } {
  if (code !== "EACCES" || process.geteuid?.() !== 0) return {};
  return { hint: "below /etc/pve nothing can be written while the cluster has no quorum: see pvecm status" };
}
