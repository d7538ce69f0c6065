import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { protectVoice } from "../../src/cli/tell-protected.js";
import validate from "../../src/generated/validate-convert.cjs";
import type { Plan, Step } from "../../src/plan/step.js";
import { disk, guestWith, record, uuid } from "../plan/builders.js";
import { luksmith } from "./luksmith.js";

const GUEST = guestWith(disk("vda"), disk("vdb"), disk("vdc"));
const DISKS = ["vda", "vdb", "vdc"];

const store = (dev: string, n: number): Step => ({
  kind: "store-key",
  keystore: "local",
  record: record(n, dev, "pending"),
});
const annotate = (...disks: string[]): Step => ({
  kind: "annotate",
  blocks: disks.map((dev, n) => ({ disk: dev, uuid: uuid(n + 1) })),
});
const PLAN: Plan = { stages: [[store("vda", 1), store("vdb", 2)], [annotate("vda", "vdb")]] };

let said = "";
beforeEach(() => {
  said = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => (said += String(text)) !== "");
});
afterEach(() => {
  vi.restoreAllMocks();
});

/** All that is said of the plan, done without a failure. */
function tell(plan: Plan, options: { json?: true; dryRun?: true }, left = ""): void {
  const voice = protectVoice(GUEST, DISKS, options);
  voice.unchanged(plan);
  plan.stages.flat().forEach(voice.step);
  if (!options.dryRun) voice.finished(plan, left);
}

function events(): Record<string, unknown>[] {
  const lines = said.trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe("protect --json", () => {
  it("says of each disk what becomes of it", () => {
    tell(PLAN, { json: true }, "its next start formats what is new");
    for (const event of events()) expect(validate(event)).toBe(true);
    const what = "its next start formats what is new";
    expect(events()).toEqual([
      { event: "unchanged", guest: GUEST.name, disk: "vdc", what: "already protected" },
      { event: "done", guest: GUEST.name, disk: "vda", what: expect.stringMatching(/^make key /) as string },
      { event: "done", guest: GUEST.name, disk: "vdb", what: expect.stringMatching(/^make key /) as string },
      { event: "done", guest: GUEST.name, what: expect.stringMatching(/^write .* vda, vdb /) as string },
      { event: "finished", guest: GUEST.name, disk: "vda", volume: "/srv/vm/vda.img", what },
      { event: "finished", guest: GUEST.name, disk: "vdb", volume: "/srv/vm/vdb.img", what },
    ]);
  });

  it("names the disk of an encryption block that is the only one", () => {
    tell({ stages: [[annotate("vdb")]] }, { json: true });
    expect(events().filter(({ event }) => event === "done")).toMatchObject([{ disk: "vdb" }]);
    expect(events().at(-1)).toEqual({
      ...{ event: "finished", guest: GUEST.name, disk: "vdb", volume: "/srv/vm/vdb.img" },
    });
  });

  it("with --dry-run says what would be done, and never that it is", () => {
    tell(PLAN, { json: true, dryRun: true });
    expect(events().map(({ event }) => event)).toEqual(["unchanged", "would", "would", "would"]);
  });

  it("says of each disk that it is protected already", () => {
    const voice = protectVoice(GUEST, DISKS, { json: true });
    voice.unchanged({ stages: [] });
    expect(events().map(({ event, disk }) => [event, disk])).toEqual(DISKS.map((dev) => ["unchanged", dev]));
  });

  it("is one line for each event, whatever the guest is called", () => {
    const voice = protectVoice({ ...GUEST, name: "we\nb\u2028\u001b[31m" }, ["vda"], { json: true });
    voice.unchanged({ stages: [] });
    expect(said).toMatch(/^[\x20-\x7e]+\n$/);
    expect(events()).toMatchObject([{ guest: "we\nb\u2028\u001b[31m" }]);
  });
});

describe("protect", () => {
  it("says to people what is done, and what is left", () => {
    tell(PLAN, {}, "its next start formats what is new");
    const last = `${GUEST.name}: vda, vdb, vdc protected; its next start formats what is new\n`;
    expect(said).toMatch(/^done: make key .*\ndone: make key .*\ndone: write .*\n/);
    expect(said.endsWith(last)).toBe(true);
  });

  it("says once that nothing is to do", () => {
    protectVoice(GUEST, DISKS, {}).unchanged({ stages: [] });
    expect(said).toBe(`${GUEST.name}: vda, vdb, vdc already protected\n`);
  });

  it("refuses what says how a disk is converted, without --convert", () => {
    for (const option of ["--in-place", "--to=/srv/x.img", "--pool=p", "--rate=1M"]) {
      const { status, stdout } = luksmith(["protect", "web1", "--json", option]);
      expect(status).toBe(2);
      expect(JSON.parse(stdout)).toMatchObject({ error: { code: "USAGE" } });
    }
  });
});
