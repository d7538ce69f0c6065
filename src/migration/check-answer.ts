import type { Container } from "../di.js";
import { asLuksmithError } from "../error/luksmith-error.js";
import { dispatch } from "../event/dispatch.js";
import type { MigrationAnswer } from "../generated/migration-answer.js";
import type { Guest, LifecycleEvent } from "../host/host-adapter.js";
import { loadManifest } from "../manifest/load.js";
import type { Plan } from "../plan/step.js";
import { volumeName } from "../storage/volume.js";

/** What a migration of the guest to this host would meet now; changes nothing, and never throws for what it is. */
export async function checkAnswer(container: Container, event: LifecycleEvent): Promise<MigrationAnswer> {
  const { version } = loadManifest();
  try {
    const plan = await dispatch(container, event, "plan");
    return { version, disks: disksOf(event.guest, plan) };
  } catch (thrown) {
    const { code, message: what, why, hint } = asLuksmithError(thrown);
    return {
      version,
      problem: { code, what, ...(why !== undefined && { why }), ...(hint !== undefined && { hint }) },
      disks: [],
    };
  }
}

function disksOf({ disks }: Guest, { stages }: Plan): MigrationAnswer["disks"] {
  const steps = stages.flat();
  const copied = new Set(
    steps.flatMap((step) => (step.kind === "note-arrival" ? step.copies.map(({ disk }) => disk) : [])),
  );
  const answerOf = (device: string, key: string, openedBy: "native" | "dm-crypt") => {
    const volume = disks.mapping[device]?.volume;
    const content = copied.has(device) ? ("copied" as const) : ("same" as const);
    return { device, volume: volume ? volumeName(volume) : "", key, openedBy, content };
  };
  return steps.flatMap((step) => {
    if (step.kind === "open-mapping") return [answerOf(step.disk, step.uuid, "dm-crypt")];
    if (step.kind !== "provide-secrets") return [];
    const own = step.secrets.filter(({ opens }) => opens === undefined);
    return own.map(({ disk, uuid }) => answerOf(disk, uuid, "native"));
  });
}
