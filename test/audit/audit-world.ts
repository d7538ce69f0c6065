import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KeyUse } from "../../src/audit/audit-log.js";
import { type AuditOptions, FileAuditLog } from "../../src/audit/file-audit-log.js";
import { ExecaCommandRunner } from "../../src/exec/command-runner.js";
import { newKeyUuid } from "../../src/keystore/key-uuid.js";
import { RecordingLogger } from "../fake/recording-logger.js";

/** An audit log in a directory of its own. */
export class AuditWorld {
  readonly file: string;
  readonly logger = new RecordingLogger();
  readonly log: FileAuditLog;

  constructor(
    readonly directory: string,
    private readonly options: Partial<AuditOptions> = {},
  ) {
    this.file = join(directory, "audit.log");
    this.log = this.another();
  }

  /** As another process has it. */
  another(options: Partial<AuditOptions> = {}): FileAuditLog {
    return new FileAuditLog({
      ...{ file: this.file, required: false, runner: new ExecaCommandRunner() },
      ...{ clock: { now: () => new Date("2026-01-02T03:04:05Z") }, logger: () => this.logger },
      locks: join(this.directory, "lock"),
      journal: () => undefined,
      ...this.options,
      ...options,
    });
  }

  get lines(): string[] {
    return readFileSync(this.file, "utf8").split("\n").slice(0, -1);
  }

  set lines(lines: readonly string[]) {
    writeFileSync(this.file, lines.map((line) => `${line}\n`).join(""));
  }
}

export function use(disk = "vda", changed: Partial<KeyUse> = {}): KeyUse {
  const guest = { id: "101", name: "web1" };
  return {
    event: "provide",
    guest,
    disk,
    volume: "/images/a.img",
    key: newKeyUuid(),
    result: "done",
    ...changed,
  };
}
