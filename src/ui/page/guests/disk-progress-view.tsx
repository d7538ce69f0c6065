import type { DiskProgress, ProtectJob } from "./protect-job.js";
import { Steps } from "./steps.js";
import { duration, size } from "./words.js";

interface Props {
  readonly job: Pick<ProtectJob, "state" | "guestName">;
  readonly device: string;
  readonly progress: DiskProgress;
}

export function DiskProgressView({ job, device, progress }: Props) {
  const { running, end } = progress;
  const isRunning = job.state === "running" && end === undefined;
  return (
    <div className="luksmith-progress">
      <Steps device={device} progress={progress} />
      {isRunning && running && (
        <>
          <p>{pace(running)}</p>
          <progress
            aria-label={`${running.task ?? "working"}, ${device}`}
            max={100}
            value={running.percent ?? 0}
          />
        </>
      )}
      {end?.oldVolume !== undefined && (
        <p>
          The old volume <code>{end.oldVolume}</code> is as it was, and not encrypted. Once the guest has run
          and has all its data, remove it on the host:{" "}
          <code>{`luksmith purge ${job.guestName} ${device}`}</code>
        </p>
      )}
    </div>
  );
}

/** `copying: 40 %, 120 MiB/s, 3 min left` */
export function pace({
  task,
  percent = 0,
  bytesPerSecond,
  secondsLeft,
}: NonNullable<DiskProgress["running"]>): string {
  return [
    `${task ?? "working"}: ${Math.floor(percent)} %`,
    ...(bytesPerSecond === undefined ? [] : [`${size(bytesPerSecond)}/s`]),
    ...(secondsLeft === undefined || secondsLeft === 0 ? [] : [`${duration(secondsLeft)} left`]),
  ].join(", ");
}
