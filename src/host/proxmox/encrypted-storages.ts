import type { StorageConfig } from "./storage-config.js";

/**
 * IDs of the storages that a disk can be moved to in order to be encrypted.
 * @param node where the guest is; storages of any node without it
 */
export function encryptedStoragesOf(storages: StorageConfig, node: string | undefined): string[] {
  const fit = [...storages.values()].filter(({ encrypted, disabled, content, nodes }) => {
    const isHere = node === undefined || nodes === undefined || nodes.includes(node);
    return encrypted !== undefined && !disabled && content.includes("images") && isHere;
  });
  return fit.map(({ id }) => id);
}
