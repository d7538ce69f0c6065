import { statfsSync } from "node:fs";

/** statfs(2) f_type of tmpfs and ramfs. */
const MEMORY_FILE_SYSTEMS = new Set([0x01021994, 0x858458f6]);

/** Whether what is written to `directory` stays in memory (or swap). @throws system errors, also if it is not there */
export function isInMemory(directory: string): boolean {
  return MEMORY_FILE_SYSTEMS.has(statfsSync(directory).type);
}
