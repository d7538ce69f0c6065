import { expect, it, vi } from "vitest";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { refuseOtherHosts } from "../../src/headers/refuse-other-hosts.js";
import * as reached from "../../src/storage/block/reached-by-others.js";
import { codeOf } from "../storage/workshop.js";

vi.mock("../../src/storage/block/reached-by-others.js", { spy: true });

it("a header is not written to a block device that a guest of another host may have open", async () => {
  const runner = new ExecaCommandRunner();
  const device = { kind: "block", path: "/dev/luksmith-of-test", format: "raw" } as const;
  vi.mocked(reached.reachedByOthers).mockReturnValue("Fibre Channel");
  expect(await codeOf(refuseOtherHosts(device, runner))).toBe("VOLUME_BUSY");
  // a file has QEMU's lock
  await refuseOtherHosts({ ...device, kind: "file" }, runner);
  vi.mocked(reached.reachedByOthers).mockReturnValue(undefined);
  await refuseOtherHosts(device, runner);
});
