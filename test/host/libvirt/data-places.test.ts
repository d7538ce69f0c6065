import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { guestFromDomainXml } from "../../../src/guest-config/domain-guest.js";
import type { CommandResult } from "../../../src/exec/command-runner.js";
import { LibvirtDataPlaces } from "../../../src/host/libvirt/data-places.js";
import { Virsh } from "../../../src/host/libvirt/virsh.js";
import { newKeyUuid } from "../../../src/keystore/key-uuid.js";
import { guestXml } from "../../e2e/support/guests.js";
import { temporaryDirectory } from "../../fs/tree.js";
import { domainXml } from "../../lab/test-domain.js";
import { isoImage } from "../iso-image.js";
import { RecordingRunner } from "./recording-runner.js";

const ID = "1c52488a-030a-473c-8447-ca7960e68062";

/** Answers with these texts, each behind the mark that virsh was told to print before the next. */
class MarkingRunner extends RecordingRunner {
  constructor(
    private readonly texts: readonly (readonly string[])[],
    private readonly stderr = "",
  ) {
    super(...texts.map(() => ({})));
  }

  override async run(command: Parameters<RecordingRunner["run"]>[0]): Promise<CommandResult> {
    const texts = this.texts[this.commands.length] ?? [];
    const mark = /echo ([0-9a-f-]{36})/.exec(command.args.at(-1) ?? "")?.[1] ?? "?";
    const result = await super.run(command);
    return {
      ...result,
      stdout: texts.join(mark),
      exitCode: this.stderr === "" ? 0 : 1,
      stderr: this.stderr,
    };
  }
}

function placesOf(
  runner: RecordingRunner,
  state: "running" | "stopped",
  xml = domainXml({ name: "--all; destroy web2", uuid: ID }),
) {
  const guest = guestFromDomainXml(xml);
  const places = new LibvirtDataPlaces(new Virsh("qemu:///system", runner));
  return places.of({ ...guest, running: state === "running", saved: false });
}

const withoutMark = (script: string) =>
  script.replace(/[0-9a-f-]{36}(?=;|$)/g, (id) => (id === ID ? "ID" : "MARK"));

it("asks one process about a guest, by its UUID", async () => {
  const [stopped, running] = [new MarkingRunner([["", ""]]), new MarkingRunner([["", "", ""]])];
  await placesOf(stopped, "stopped");
  expect(stopped.scripts.map(withoutMark)).toEqual([`snapshot-list --domain ${ID} --name; echo MARK`]);
  await placesOf(running, "running");
  expect(running.scripts.map(withoutMark)).toEqual([
    `snapshot-list --domain ${ID} --name; echo MARK; dumpxml --domain ID; echo MARK; backup-dumpxml --domain ID`,
  ]);
});

it("asks a second one about snapshots, whose names it quotes", async () => {
  const snapshot =
    "<domainsnapshot><name>a</name><memory snapshot='external' file='/absent'/></domainsnapshot>";
  const runner = new MarkingRunner([
    ["a'; destroy b\n--all\n", ""],
    [snapshot, snapshot.replace("/absent", "/proc/self/stat"), ""],
  ]);
  const places = await placesOf(runner, "stopped");
  expect(withoutMark(runner.scripts[1] ?? "")).toBe(
    [
      `snapshot-dumpxml --domain ${ID} --snapshotname 'a'\\''; destroy b'; echo MARK`,
      `snapshot-dumpxml --domain ${ID} --snapshotname '--all'; echo MARK`,
    ].join("; "),
  );
  const found = places.filter(({ kind }) => kind === "snapshot-memory");
  expect(found.map(({ where, protection }) => [where, protection])).toEqual([
    ["/absent", "possible"],
    ["/proc/self/stat", "plaintext"],
  ]);
});

it("tells what libvirt did not tell, and takes a guest without a backup for no problem", async () => {
  const answers = [["", domainXml({ name: "a", uuid: ID }), ""]];
  const quiet = await placesOf(
    new MarkingRunner(answers, "error: Domain backup job id not found: no domain backup job present\n"),
    "running",
  );
  expect(quiet.map(({ kind }) => kind)).not.toContain("unknown");
  const loud = await placesOf(new MarkingRunner(answers, "error: snapshots are broken\n"), "running");
  expect(loud).toContainEqual(
    expect.objectContaining({
      kind: "unknown",
      protection: "possible",
      detail: expect.stringContaining("snapshots are broken") as unknown,
    }),
  );
});

it("a libvirt that does not answer is an error", async () => {
  const runner = new MarkingRunner([["", ""]], "error: failed to connect to the hypervisor\n");
  await expect(placesOf(runner, "stopped")).rejects.toMatchObject({ code: "HOST_UNAVAILABLE" });
});

it("tells how to eject a configuration drive that only the running guest still has", async () => {
  const iso = join(temporaryDirectory(), "x.iso");
  writeFileSync(iso, isoImage("cidata"));
  const guest = (source: string) =>
    domainXml({
      name: "lab",
      uuid: ID,
      devices: `<disk type='file' device='cdrom'>${source}<target dev='hda' bus='ide'/><readonly/></disk>`,
    });
  const runner = new MarkingRunner([["", guest(`<source file='${iso}'/>`), ""]]);
  const places = await placesOf(runner, "running", guest(""));
  expect(places.filter(({ kind }) => kind === "medium")).toEqual([
    {
      kind: "medium",
      where: iso,
      protection: "plaintext",
      detail: "configuration drive hda (label cidata): it can hold passwords, keys and tokens",
      hint: "once the guest has read it, eject it and delete the image: virsh change-media lab hda --eject --live",
    },
  ]);
});

it("tells of the passphrases that libvirt keeps, also of a disk under a plain overlay", async () => {
  const base = { path: "/srv/a.img", format: "raw", secretUuid: newKeyUuid() } as const;
  const disk = { dev: "vda", path: "/srv/a.s1", format: "qcow2", base } as const;
  const xml = guestXml({ name: "lab", uuid: ID, disks: [disk] });
  const kinds = async (state: "running" | "stopped") =>
    (await placesOf(new MarkingRunner([["", "", ""]]), state, xml)).map(({ kind }) => kind);
  expect(await kinds("running")).toContain("host-secrets");
  expect(await kinds("stopped")).not.toContain("host-secrets");
});
