import { randomInt } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { performance } from "node:perf_hooks";
import { errnoOf } from "../error/luksmith-error.js";

/** Milliseconds: between a claim and the name lie a few calls. A claim that is older was left by a killed process. */
const PATIENCE = 3000;
const PAUSE = 20;

/**
 * Gives `temporary` the name `path`, unless that is taken, on a file system without hard links: rename(2) replaces, so
 * a claim comes first, a directory. mkdir(2) lets one of two win, on pmxcfs also of two nodes. Whoever takes an old
 * claim over cannot know that its owner is dead and not only slow. So the file goes into the claim, and gets its name
 * from there only if it was alone in it: then all others who are there later see that it has the name, or have removed
 * it, and a late rename(2) finds nothing to rename.
 * @returns `lost` if somebody took the claim over: the file is gone, and has not got the name
 * @throws Node's system errors; then the name was not given
 */
export function nameOnce(temporary: string, path: string): "named" | "exists" | "lost" {
  const claim = join(dirname(path), claimName(basename(path)));
  for (;;) {
    if (claimOrWait(claim, path) === "exists") return "exists";
    const outcome = nameThrough(claim, temporary, path);
    if (outcome !== "again") return outcome;
    pause(randomInt(PAUSE));
  }
}

const CLAIM = /^\..+\.claim$/;
const TEMPORARY = /^\..+\.tmp$/;

/** The claim on the name `name` in the same directory. */
function claimName(name: string): string {
  return `.${name}.claim`;
}

export function isClaim(name: string): boolean {
  return CLAIM.test(name);
}

function claimOrWait(claim: string, path: string): "claimed" | "exists" {
  for (let begun = performance.now(); ;) {
    try {
      mkdirSync(claim, 0o700);
      return "claimed";
    } catch (thrown) {
      if (errnoOf(thrown) !== "EEXIST") throw thrown;
    }
    if (isThere(path)) return "exists";
    if (performance.now() - begun > PATIENCE) {
      takeOver(claim);
      begun = performance.now();
    } else {
      pause(PAUSE);
    }
  }
}

function nameThrough(claim: string, temporary: string, path: string): "named" | "exists" | "lost" | "again" {
  const inside = join(claim, basename(temporary));
  try {
    if (!moved(temporary, inside)) return isThere(temporary) ? "again" : "lost";
    // it is the claim of somebody else by now, or has become so: one of the two may not see the other, but not both
    if (!isAlone(inside)) return moved(inside, temporary) ? "again" : "lost";
    // taken after the last look and before the claim
    if (isThere(path)) return "exists";
    return moved(inside, path) ? "named" : "lost";
  } finally {
    tryTo(() => unlinkSync(inside));
    tryTo(() => rmdirSync(claim));
  }
}

/** Whether it was still there to be moved, and what it was moved into. */
function moved(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
}

/** Whether it is the only file of a claim; not if the claim is gone. */
function isAlone(inside: string): boolean {
  try {
    return readdirSync(dirname(inside)).every((name) => name === basename(inside));
  } catch (thrown) {
    if (errnoOf(thrown) === "ENOENT") return false;
    throw thrown;
  }
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** @throws system errors: a claim that cannot be removed would be waited for without an end */
export function takeOver(claim: string): void {
  try {
    for (const name of readdirSync(claim)) if (TEMPORARY.test(name)) removeIfThere(join(claim, name));
    rmdirSync(claim);
  } catch (thrown) {
    // its owner has finished
    if (errnoOf(thrown) === "ENOENT") return;
    // its owner has gone on meanwhile
    if (errnoOf(thrown) === "ENOTEMPTY" && readdirSync(claim).some((name) => TEMPORARY.test(name))) return;
    throw thrown;
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (errnoOf(thrown) !== "ENOENT") throw thrown;
  }
}

/** What cannot be removed stops nobody for long. */
function tryTo(action: () => void): void {
  try {
    action();
  } catch (thrown) {
    if (errnoOf(thrown) === undefined) throw thrown;
  }
}

/** Nothing else can go on before this: what calls creates files synchronously. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
