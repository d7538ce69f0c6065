import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { describe, expect, it } from "vitest";
import type { ConvertOutput } from "../../../src/generated/convert.js";
import { CommandProblem } from "../../../src/ui/api/ui-api.js";
import { pace } from "../../../src/ui/page/guests/disk-progress-view.js";
import { JobView } from "../../../src/ui/page/guests/job-view.js";
import { Leftovers } from "../../../src/ui/page/guests/leftovers.js";
import {
  newJob,
  type ProtectJob,
  withEnd,
  withEvent,
  withFailure,
} from "../../../src/ui/page/guests/protect-job.js";
import { ProtectPreview } from "../../../src/ui/page/guests/protect-preview.js";
import { resultOf } from "../../../src/ui/page/guests/reap-dialog.js";

const nothing = () => undefined;
const textOf = (element: ReactElement) =>
  renderToStaticMarkup(element)
    .replace(/<[^>]*>/g, " ")
    .replace(/&#x27;/g, "'")
    .replace(/\s+/g, " ");

const BEGUN = newJob({ guest: "a1", disks: ["vda", "vdb"], content: "convert" }, "web1");
const after = (...events: ConvertOutput[]) => events.reduce(withEvent, BEGUN);
const view = (job: ProtectJob, whenClosed: "goes-on" | "ends" = "goes-on") =>
  textOf(<JobView job={job} whenClosed={whenClosed} onClose={nothing} />);

const COPYING: ConvertOutput = {
  ...{ event: "progress", guest: "web1", disk: "vda", task: "copying", percent: 40.7 },
  ...{ bytesPerSecond: 120 * 1024 ** 2, secondsLeft: 180 },
};
const FINISHED: ConvertOutput = {
  ...{ event: "finished", guest: "web1", disk: "vda", volume: "/new.img", oldVolume: "/old.img" },
};

describe("events", () => {
  it("are kept for each disk, in their order", () => {
    const job = after(
      { event: "done", disk: "vda", what: "first" },
      { event: "done", disk: "vdb", what: "other" },
      { event: "done", disk: "vda", what: "second" },
    );
    expect(job.disks["vda"]?.steps).toEqual(["first", "second"]);
    expect(job.disks["vdb"]?.steps).toEqual(["other"]);
    expect(BEGUN.disks).toEqual({});
  });

  it("of the guest as a whole are kept as well", () => {
    expect(after({ event: "done", what: "saved its definition" }).disks[""]?.steps).toEqual([
      "saved its definition",
    ]);
  });

  it("replace a task's progress, and end it", () => {
    const job = after(COPYING, { ...COPYING, percent: 41 });
    expect(job.disks["vda"]?.running?.percent).toBe(41);
    const ended = withEvent(job, FINISHED).disks["vda"];
    expect(ended?.running).toBeUndefined();
    expect(ended?.end?.oldVolume).toBe("/old.img");
  });
});

describe("a running job", () => {
  it("shows percent, speed and the time that is left", () => {
    expect(pace(COPYING)).toBe("copying: 40 %, 120 MiB/s, 3 min left");
    expect(pace({ task: "verifying", percent: 0 })).toBe("verifying: 0 %");
    const markup = renderToStaticMarkup(
      <JobView job={after(COPYING)} whenClosed="goes-on" onClose={nothing} />,
    );
    expect(markup).toContain('<progress aria-label="copying, vda" max="100" value="40.7">');
  });

  it("says what closing the page does", () => {
    expect(view(BEGUN)).toContain("the work goes on");
    expect(view(BEGUN, "ends")).toContain("If you close the page or log out, the work stops");
  });
});

describe("a job that has ended", () => {
  it("says so, and what becomes of the old volume", () => {
    const text = view(withEnd(after(COPYING, FINISHED)));
    expect(text).toContain("What was on the disks is encrypted.");
    expect(text).toContain("/old.img");
    expect(text).toContain("luksmith purge web1 vda");
    expect(text).not.toContain("copying");
  });

  it("says of empty disks that the next start formats them", () => {
    const empty = newJob({ guest: "a1", disks: ["vda"], content: "empty" }, "web1");
    expect(view(withEnd(empty))).toContain("The guest's next start formats what is new.");
  });

  it("says why it has failed, and no longer how far it is", () => {
    const problem = {
      code: "NO_SPACE",
      what: "cannot make the volume",
      why: "the pool is full",
      hint: "make room",
    };
    const text = view(withFailure(after(COPYING), new CommandProblem(problem)));
    for (const words of ["Cannot make the volume.", "The pool is full.", "What to do: make room."])
      expect(text).toContain(words);
    expect(text).not.toContain("min left");
    expect(text).not.toContain("Done.");
  });
});

describe("a dry run", () => {
  const preview = (...events: ConvertOutput[]) =>
    textOf(<ProtectPreview preview={after(...events)} onConfirm={nothing} onBack={nothing} />);

  it("shows what would be done, and asks", () => {
    const text = preview({ event: "would", disk: "vda", what: "make a key" });
    expect(text).toContain("Nothing has been changed yet.");
    expect(text).toContain("Make a key.");
    expect(text).toContain("Encrypt now");
  });

  it("asks nothing where nothing is to be done", () => {
    const text = preview({ event: "unchanged", disk: "vda", what: "already protected" });
    expect(text).toContain("Already protected.");
    expect(text).not.toContain("Encrypt now");
  });
});

describe("leftovers", () => {
  const found = {
    kind: "host-secret",
    name: "7f3a",
    guest: { id: "a1", name: "web1" },
    disk: "vda",
  } as const;

  it("say what they are, of whom, and what has become of them", () => {
    const text = textOf(
      <Leftovers
        leftovers={[
          { ...found, outcome: "cleaned" },
          { kind: "mapping", name: "luksmith-1", guest: { id: "b2" }, outcome: "left", why: "it is in use" },
        ]}
      />,
    );
    for (const words of ["Host secret of web1, vda – gone", "7f3a", "Decrypted mapping of b2 – there still"])
      expect(text).toContain(words);
    expect(text).toContain("It is in use.");
  });

  it.each([
    [{ clean: true, leftovers: [] }, "looked", "success", "Nothing is left over."],
    [
      { clean: false, leftovers: [{ ...found, outcome: "found" }] },
      "looked",
      "info",
      "Nothing has been changed yet.",
    ],
    [
      { clean: true, leftovers: [{ ...found, outcome: "cleaned" }] },
      "cleaned",
      "success",
      "All of it is gone.",
    ],
    [
      { clean: false, leftovers: [{ ...found, outcome: "left" }] },
      "cleaned",
      "warning",
      "Some of it is there still.",
    ],
  ] as const)("%j, %s: %s", ({ clean, leftovers }, done, variant, words) => {
    const result = resultOf({ clean, leftovers: [...leftovers] }, done);
    expect(result.variant).toBe(variant);
    expect(result.title).toContain(words);
  });
});
