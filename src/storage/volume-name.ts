import type { RbdVolume } from "./volume.js";

/** Pool, namespace and image: what Ceph allows in none of them separates them, or a snapshot (`@`). */
const RBD_NAME = /^rbd:([^/@\p{Cc}]+)\/(?:([^/@\p{Cc}]+)\/)?([^/@\p{Cc}]+)$/u;

/** The RBD image that `volumeName` calls so, `rbd:POOL/IMAGE` or `rbd:POOL/NAMESPACE/IMAGE`; undefined for no such name. */
export function parseRbdName(name: string): RbdVolume | undefined {
  const [, pool, namespace, image] = RBD_NAME.exec(name) ?? [];
  if (pool === undefined || image === undefined) return undefined;
  return { kind: "rbd", pool, ...(namespace === undefined ? {} : { namespace }), image, format: "raw" };
}
