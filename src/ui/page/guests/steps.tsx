import { sentence } from "../problem-words.js";
import type { DiskProgress } from "./protect-job.js";

/** What is done with one disk, or with the guest where it has no name. */
export function Steps({ device, progress }: { readonly device: string; readonly progress: DiskProgress }) {
  const { steps, end } = progress;
  return (
    <section>
      {device !== "" && <h3>{device}</h3>}
      <ol className="luksmith-steps">
        {steps.map((step, index) => (
          <li key={index}>{sentence(step)}</li>
        ))}
      </ol>
      {end?.what !== undefined && <p>{sentence(end.what)}</p>}
    </section>
  );
}
