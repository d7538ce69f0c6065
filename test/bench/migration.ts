import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { ARRIVALS_DIRECTORY } from "../../src/migration/arrivals.js";
import type { GuestDisk, TestGuest } from "../e2e/support/guests.js";
import type { LuksmithHost } from "../e2e/support/luksmith-host.js";
import { startTwoHosts, type TwoHosts } from "../e2e/support/two-hosts.js";
import { makeVolume } from "../e2e/support/volumes.js";
import { defineWriter, writesOn } from "../e2e/support/writing-guest.js";
import { type Action, interleave } from "./compare.js";
import { type Findings, row, type Row, type Side } from "./row.js";

const EFFORT = { rounds: 15, seconds: 120 };

/** Live migration of a guest that writes, to and fro between two hosts, encrypted and plain by turns. */
export async function benchMigration(): Promise<Findings> {
  await using hosts = await startTwoHosts();
  const shared = await compare(hosts, "shared");
  await hosts.reset();
  const copied = await compare(hosts, "copied");
  return { rows: [...shared, ...copied], memory: [] };
}

type Storage = "shared" | "copied";

async function compare(hosts: TwoHosts, storage: Storage): Promise<Row[]> {
  const plain = await shuttle(hosts, "plain", storage);
  const encrypted = await shuttle(hosts, "encrypted", storage);
  const samples = await interleave({ plain, encrypted }, EFFORT, ({ migrate }) => migrate());
  await hosts.a.stopGuests();
  await hosts.b.stopGuests();
  const side = (name: keyof typeof samples, what: keyof Job): Side => ({
    name: `${LABELS[what]}, ${storage} storage, ${name}`,
    milliseconds: samples[name].map((job) => job[what]),
  });
  return (["downtime", "elapsed"] as const).map((what) => row(side("encrypted", what), side("plain", what)));
}

const LABELS = { downtime: "downtime in a migration", elapsed: "migration as a whole" } as const;

/** What libvirt says of a migration, in milliseconds. */
interface Job {
  /** For how long the guest ran nowhere. */
  readonly downtime: number;
  readonly elapsed: number;
}

interface Shuttle extends Action {
  /** To the other host. */
  readonly migrate: () => Promise<Job>;
}

/** A guest that has been there and back once: what only a first migration does is not measured. */
async function shuttle(hosts: TwoHosts, name: "plain" | "encrypted", storage: Storage): Promise<Shuttle> {
  const { a, b } = hosts;
  const path = storage === "shared" ? a.newPath("raw") : `${hosts.apart}/${name}.raw`;
  await makeVolume(a.inside(path), "raw");
  if (storage === "copied") await makeVolume(b.inside(path), "raw");
  const disk: GuestDisk = { dev: "vda", path, format: "raw" };
  const guest = await defineWriter(a, { name, disks: [disk] });
  if (name === "encrypted") await a.must("protect", name);
  if (name === "encrypted" && storage === "shared") await hosts.shareKeys();
  await a.start(guest);
  await writesOn(a, guest);
  let [from, to] = [a, b];
  const migrate = async () => {
    const flags = storage === "shared" ? [] : ["--copy-storage-all"];
    const { exitCode, stderr } = await hosts.migrate(guest, from, to, ...flags);
    if (exitCode !== 0) throw new Error(stderr);
    [from, to] = [to, from];
    return await lastJob(from, guest);
  };
  // without what follows a migration: for the other guest's next one the machine shall be quiet
  const shuttling = { migrate, run: migrate, after: () => settled(from) };
  for (let journey = 0; journey < 2; journey++) {
    await migrate();
    await shuttling.after();
  }
  return shuttling;
}

/** Waits until the host has no note of a guest that arrives. */
async function settled(host: LuksmithHost): Promise<void> {
  while (existsSync(host.inside(ARRIVALS_DIRECTORY))) await sleep(50);
}

/** The target has the source's numbers. */
async function lastJob(host: LuksmithHost, guest: TestGuest): Promise<Job> {
  const said = await host.libvirt.virsh("domjobinfo", "--completed", "--rawstats", guest.uuid);
  const milliseconds = (field: string) => {
    const [, value] = new RegExp(`^${field}: (\\d+)$`, "m").exec(said) ?? [];
    if (value === undefined) throw new Error(`virsh domjobinfo has no ${field}:\n${said}`);
    return Number(value);
  };
  return { downtime: milliseconds("downtime"), elapsed: milliseconds("time_elapsed") };
}
