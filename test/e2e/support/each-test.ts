import { afterAll, afterEach, beforeAll } from "vitest";
import { LuksmithHost } from "./luksmith-host.js";
import { expectNothingLeft } from "./nothing-left.js";

/**
 * One host for all tests of a file. After each test its guests are stopped, nothing may be left of them, and the host
 * is as new again: no guest, key, setting, volume, log.
 */
export function hostForThisFile(): () => LuksmithHost {
  let host: LuksmithHost | undefined;
  beforeAll(async () => {
    host = await LuksmithHost.start();
  });
  afterEach(async () => {
    if (host === undefined) return;
    await host.stopGuests();
    try {
      await expectNothingLeft(host);
    } finally {
      await host.reset();
    }
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
  });
  return () => {
    if (host === undefined) throw new Error("the host has not started");
    return host;
  };
}
