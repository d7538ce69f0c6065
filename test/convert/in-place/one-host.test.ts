import { beforeEach, expect, it, vi } from "vitest";
import { requireOneHost } from "../../../src/convert/in-place/one-host.js";
import type { Subject } from "../../../src/convert/in-place/refusals.js";
import { asLuksmithError } from "../../../src/error/luksmith-error.js";
import type { Command, CommandRunner } from "../../../src/exec/command-runner.js";
import * as reached from "../../../src/storage/block/reached-by-others.js";

vi.mock("../../../src/storage/block/reached-by-others.js", { spy: true });

const VOLUME = { kind: "block", path: "/dev/vg-of-test/web1", format: "raw" } as const;
const SUBJECT = {
  ...{ guest: { name: "web1" }, disk: { dev: "vda" }, to: "encrypted" },
} as unknown as Subject;

/** What LVM says of a volume that is not active. */
function fakeLvm(group: Record<string, string>): CommandRunner {
  const lv = {
    ...{ lv_uuid: "u", lv_size: "4194304", lv_active: "", lv_layout: "linear", lv_role: "public" },
    ...{ vg_extent_size: "4194304", data_stripes: "1" },
    ...{ vg_free: "0", vg_shared: "", vg_clustered: "", vg_systemid: "", ...group },
  };
  const stdout = JSON.stringify({ report: [{ lv: [lv] }] });
  const run = ({ tool }: Command) => {
    if (tool !== "lvs") throw new Error(`no ${tool} is expected`);
    return Promise.resolve({ exitCode: 0, stdout, stderr: "" });
  };
  return { run } as unknown as CommandRunner;
}

const refusal = (group: Record<string, string>) =>
  requireOneHost(SUBJECT, VOLUME, fakeLvm(group)).then(
    () => "none",
    (thrown: unknown) => `${asLuksmithError(thrown).code}: ${asLuksmithError(thrown).why ?? ""}`,
  );

beforeEach(() => {
  vi.mocked(reached.reachedByOthers).mockReturnValue(undefined);
});

it.each([{ vg_shared: "shared" }, { vg_clustered: "clustered" }])(
  "refuses a volume group that is made for several hosts: %j",
  async (group) => {
    expect(await refusal(group)).toMatch(/^VOLUME_UNSUPPORTED: volume group vg-of-test is shared/);
  },
);

it("takes a group on disks of this host", async () => {
  expect(await refusal({})).toBe("none");
});

it("refuses storage that others reach, unless LVM keeps them off", async () => {
  vi.mocked(reached.reachedByOthers).mockReturnValue("iSCSI");
  expect(await refusal({})).toMatch(/^VOLUME_UNSUPPORTED: .*iSCSI.*system ID/);
  expect(await refusal({ vg_systemid: "node1" })).toBe("none");
  const device = { kind: "block", path: "/dev/null", format: "raw" } as const;
  await expect(requireOneHost(SUBJECT, device, fakeLvm({}))).rejects.toThrow(/encrypt disk vda/);
});
