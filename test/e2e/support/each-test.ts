import { afterAll, afterEach, beforeAll } from "vitest";
import { nobodyAtWork } from "./leftovers.js";
import { LuksmithHost } from "./luksmith-host.js";
import { expectNothingLeft } from "./nothing-left.js";
import { startTwoHosts, type TwoHosts } from "./two-hosts.js";

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
      await nobodyAtWork(host);
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

/**
 * Two hosts for all tests of a file. After each test the network between them is whole again, their guests are stopped,
 * nothing may be left of them on either, and both are as new.
 */
export function twoHostsForThisFile(): () => TwoHosts {
  let hosts: TwoHosts | undefined;
  beforeAll(async () => {
    hosts = await startTwoHosts();
  });
  afterEach(async () => {
    if (hosts === undefined) return;
    const both = [hosts.a, hosts.b];
    await hosts.mendNetwork();
    for (const host of both) await host.stopGuests();
    try {
      for (const host of both) {
        await nobodyAtWork(host);
        await expectNothingLeft(host, both);
      }
    } finally {
      await hosts.reset();
    }
  });
  afterAll(async () => {
    await hosts?.[Symbol.asyncDispose]();
  });
  return () => {
    if (hosts === undefined) throw new Error("the hosts have not started");
    return hosts;
  };
}
