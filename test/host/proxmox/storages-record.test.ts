import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ExecaCommandRunner } from "../../../src/exec/command-runner.js";
import { ProxmoxPlaces } from "../../../src/host/proxmox/places.js";
import { readStoragesRecord } from "../../../src/host/proxmox/read-storages-record.js";
import { forgetStorage, recordStorage } from "../../../src/host/proxmox/storages-record.js";
import { codeOf } from "../../storage/workshop.js";

const runner = new ExecaCommandRunner();
const storage = (id: string, path = "/srv/enc") => ({ id, base: { type: "directory" as const, path } });

let root: string;
let places: ProxmoxPlaces;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "luksmith-record-"));
  places = new ProxmoxPlaces(root);
});
afterEach(() => rmSync(root, { recursive: true }));

it("has each storage once, as it was recorded last", async () => {
  for (const one of [storage("sb"), storage("sa"), storage("sb", "/srv/other")])
    await recordStorage(one, places, runner);
  const storages = [storage("sa"), storage("sb", "/srv/other")];
  expect(readStoragesRecord(places)).toEqual({ kind: "known", storages });
  await forgetStorage("sa", places, runner);
  await forgetStorage("sa", places, runner);
  expect(readStoragesRecord(places)).toEqual({ kind: "known", storages: storages.slice(1) });
  expect(readdirSync(dirname(places.storagesRecord))).toEqual(["storages.json"]);
});

it("is not written where nothing changes", async () => {
  await recordStorage(storage("sa"), places, runner);
  const { ino } = statSync(places.storagesRecord);
  await recordStorage(storage("sa"), places, runner);
  await forgetStorage("sb", places, runner);
  expect(statSync(places.storagesRecord).ino).toBe(ino);
});

it("waits for another process that changes it", async () => {
  await recordStorage(storage("sa"), places, runner);
  const other = spawn("flock", ["-x", places.cluster, "sh", "-c", "echo locked; read line"]);
  await once(other.stdout, "data");
  let isDone = false;
  const recording = recordStorage(storage("sb"), places, runner).then(() => (isDone = true));
  await setTimeout(500);
  expect(isDone).toBe(false);
  other.stdin.end();
  await recording;
  expect(readStoragesRecord(places)).toEqual({ kind: "known", storages: [storage("sa"), storage("sb")] });
});

it("that is damaged is not replaced", async () => {
  mkdirSync(places.cluster, { recursive: true });
  writeFileSync(places.storagesRecord, "{");
  expect(await codeOf(recordStorage(storage("sa"), places, runner))).toBe("SETTINGS_INVALID");
  expect(readFileSync(places.storagesRecord, "utf8")).toBe("{");
});

it("that cannot be written is an error", async () => {
  mkdirSync(places.pve, { recursive: true });
  writeFileSync(places.cluster, "in the way");
  expect(await codeOf(recordStorage(storage("sa"), places, runner))).toBe("SETTINGS_UNWRITABLE");
});
