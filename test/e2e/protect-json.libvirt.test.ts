import { describe, expect, it } from "vitest";
import type { ConvertOutput } from "../../src/generated/convert.js";
import type { ErrorOutput } from "../../src/generated/error.js";
import { hostForThisFile } from "./support/each-test.js";

const host = hostForThisFile();

describe("protect --json", () => {
  it("tells each step on a line, and the second time that nothing is to do", async () => {
    const guest = await host().guest("web1", ["raw", "raw"]);
    const first = linesOf(await host().must("protect", "web1", "--json"));
    expect(new Set(first.map((line) => line.guest))).toEqual(new Set(["web1"]));
    expect(first.filter(({ event }) => event === "done").length).toBeGreaterThanOrEqual(2);
    expect(first.slice(-2)).toEqual(
      guest.disks.map(({ dev, path }) => ({
        ...{ event: "finished", guest: "web1", disk: dev, volume: path },
        what: "its next start formats what is new",
      })),
    );
    expect(Object.keys(await host().blocks(guest))).toEqual(["vda", "vdb"]);

    expect(linesOf(await host().must("protect", "web1", "--json"))).toEqual(
      ["vda", "vdb"].map((disk) => ({
        ...{ event: "unchanged", guest: "web1", disk, what: "already protected" },
      })),
    );
  });

  it("ends with the error where the guest is running", async () => {
    const guest = await host().guest("web1", ["raw"]);
    await host().start(guest);
    const { exitCode, stdout, stderr } = await host().luksmith("protect", "web1", "--json");
    expect(exitCode).toBe(3);
    const lines = stdout.trimEnd().split("\n");
    expect(lines).toHaveLength(1);
    const { error } = JSON.parse(lines[0] ?? "") as ErrorOutput;
    expect(error).toMatchObject({
      code: "GUEST_RUNNING",
      hint: expect.stringContaining("virsh shutdown web1") as unknown,
    });
    expect(stderr).toContain(`error: ${error.what}\n`);
    expect(await host().blocks(guest)).toEqual({});
  });

  it("goes on to its end when nobody reads it any more", async () => {
    const guest = await host().guest("web1", ["raw", "raw"]);
    const [node = "", cli = ""] = host().command();
    // the reader has gone before the first line is written
    const script = `exec 3> >(exit); wait $!; '${node}' '${cli}' protect web1 --json >&3; echo $?`;
    const { stdout, stderr } = await host().libvirt.exec(["bash", "-c", script]);
    expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
    expect(Object.keys(await host().blocks(guest))).toEqual(["vda", "vdb"]);
  });
});

function linesOf(output: string): ConvertOutput[] {
  return output
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as ConvertOutput);
}
