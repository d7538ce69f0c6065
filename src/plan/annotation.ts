import type { DiskMapping } from "../disk-info/disk-info.js";
import type { Annotations, DiskAnnotation } from "../host/host-adapter.js";
import { isMappable } from "../storage/volume.js";
import type { AnnotatedKey } from "./step.js";

/** As the guest's configuration has it; undefined for a disk that names no key. */
export function annotationNow({
  dev,
  encryption_secret_uuid: uuid,
  encryption_format: format,
  encryption_options: options,
  mapping: name,
  volume,
}: DiskMapping): AnnotatedKey | undefined {
  if (uuid === undefined) return undefined;
  if (name === undefined || format === undefined || !isMappable(volume)) {
    return { disk: dev, uuid, ...(options?.["engine"] === "librbd" && { engine: "librbd" as const }) };
  }
  return { disk: dev, uuid, mapping: { name, format, volume } };
}

/** As the host adapter writes them. */
export function annotationsOf(keys: readonly AnnotatedKey[]): Annotations {
  return new Map(keys.map((key) => [key.disk, annotationOf(key)]));
}

function annotationOf({ uuid: secretUuid, engine, mapping }: AnnotatedKey): DiskAnnotation {
  if (mapping === undefined) return { format: "luks", secretUuid, ...(engine && { engine }) };
  const { name, format, volume } = mapping;
  return { format, secretUuid, mapping: name, volume };
}
