import { expect, it } from "vitest";
import { toPrometheus, type WholeStatus } from "../../src/status/prometheus.js";
import { summaryOf } from "../../src/status/verdict.js";
import { disk, guest, PROTECTED } from "./guests.js";

function whole(overrides: Partial<WholeStatus>): WholeStatus {
  const guests = overrides.guests ?? [];
  const found = {
    takenAt: "2026-03-11T12:00:00.000Z",
    host: "node1",
    keystores: [],
    summary: summaryOf(guests),
  };
  return { ...found, guests, ...overrides };
}

/** Exposition format: every sample belongs to the metric whose TYPE line was the last one. */
function samplesOf(text: string): Map<string, string[]> {
  const metrics = new Map<string, string[]>();
  let samples: string[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    const [, type] = /^# TYPE (\w+) gauge$/.exec(line) ?? [];
    if (type !== undefined) metrics.set(type, (samples = []));
    if (line.startsWith("#")) continue;
    expect(line).toMatch(/^luksmith_\w+(\{(\w+="([^"\\\n]|\\[\\"n])*",?)+\})? [0-9.e+]+$/);
    const name = [...metrics.keys()].at(-1)!;
    expect(line.startsWith(name)).toBe(true);
    samples.push(line.slice(name.length));
  }
  expect(text.endsWith("\n")).toBe(true);
  return metrics;
}

it("tells verdicts, ages, drills, copies, keystores, and leaves out what is not known", () => {
  const guests = [
    guest({ disks: [PROTECTED, disk({ device: "vdb", askedBy: ["flavor"] })] }),
    guest({ id: "g-2", name: "db", problem: { code: "X", what: "x" } }),
  ];
  const keystores = [
    { name: "local", type: "file", answers: true },
    { name: "vault", type: "vault", answers: false },
  ];
  const metrics = samplesOf(toPrometheus(whole({ guests, keystores })));
  const vda = '{guest_id="g-1",guest="web1",disk="vda"}';
  expect(metrics.get("luksmith_disks")).toContain('{verdict="unprotected"} 1');
  expect(metrics.get("luksmith_disk_verdict")).toEqual([
    '{guest_id="g-1",guest="web1",disk="vda",verdict="protected"} 1',
    '{guest_id="g-1",guest="web1",disk="vdb",verdict="unprotected"} 1',
  ]);
  expect(metrics.get("luksmith_disk_key_age_seconds")).toEqual([`${vda} 864000`]);
  expect(metrics.get("luksmith_disk_last_drill_timestamp_seconds")).toEqual([`${vda} 1772409600`]);
  expect(metrics.get("luksmith_disk_last_drill_passed")).toEqual([`${vda} 1`]);
  expect(metrics.get("luksmith_guest_would_start")).toEqual([
    '{guest_id="g-1",guest="web1"} 1',
    '{guest_id="g-2",guest="db"} 0',
  ]);
  expect(metrics.get("luksmith_guest_readable")?.[1]).toBe('{guest_id="g-2",guest="db"} 0');
  expect(metrics.get("luksmith_keystore_up")).toEqual([
    '{keystore="local",type="file"} 1',
    '{keystore="vault",type="vault"} 0',
  ]);
});

it("counts copies of a disk, and says nothing of one that has none", () => {
  const disks = [
    PROTECTED,
    disk({ device: "vdb", copyOf: "/srv/vm/b.img" }),
    disk({ device: "vdc", copyOf: "/srv/vm/b.img", sameVolumeKey: ["web2 vda", "web3 vda"] }),
  ];
  expect(samplesOf(toPrometheus(whole({ guests: [guest({ disks })] }))).get("luksmith_disk_copies")).toEqual([
    '{guest_id="g-1",guest="web1",disk="vdb"} 1',
    '{guest_id="g-1",guest="web1",disk="vdc"} 2',
  ]);
});

it("stays readable whatever a guest is called", () => {
  const guests = [guest({ name: 'a"} 1\nevil{x="\\', disks: [disk()] })];
  const samples = samplesOf(toPrometheus(whole({ guests }))).get("luksmith_disk_verdict");
  expect(samples).toEqual(['{guest_id="g-1",guest="a\\"} 1\\nevil{x=\\"\\\\",disk="vda",verdict="plain"} 1']);
});

it("of a host without guests says at least when, and how many", () => {
  const metrics = samplesOf(toPrometheus(whole({})));
  expect(metrics.get("luksmith_status_timestamp_seconds")).toEqual([" 1773230400"]);
  expect(metrics.get("luksmith_disks")).toHaveLength(7);
  expect(metrics.has("luksmith_disk_verdict")).toBe(false);
});
