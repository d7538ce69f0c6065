import { LuksmithError } from "../../src/error/luksmith-error.js";
import type { HeaderBackup, HeaderToKeep, HeaderVault } from "../../src/headers/header-vault.js";
import type { KeyUuid } from "../../src/keystore/key-uuid.js";
import { digestOf } from "../../src/headers/backup-file.js";

/** Keeps copies in this process, all of them, or fails where a test says so. */
export class FakeHeaderVault implements HeaderVault {
  readonly kept: HeaderToKeep[] = [];
  readonly setAsides: Buffer[] = [];
  readonly destroyed: KeyUuid[] = [];
  full = false;

  async keep(header: HeaderToKeep): Promise<HeaderBackup> {
    await this.mayWrite();
    const newest = this.backups(header.uuid)[0];
    if (newest?.digest !== digestOf(header.header)) this.kept.push(header);
    const backup = this.backups(header.uuid)[0];
    if (backup === undefined) throw new Error("nothing was kept");
    return backup;
  }

  async setAside(_uuid: KeyUuid, bytes: Buffer): Promise<string> {
    await this.mayWrite();
    this.setAsides.push(bytes);
    return `/fake/${this.setAsides.length}.overwritten`;
  }

  keys(): readonly KeyUuid[] {
    return [...new Set(this.kept.map(({ uuid }) => uuid))];
  }

  backups(uuid: KeyUuid): readonly HeaderBackup[] {
    return this.kept
      .map(({ header, ...rest }, index) => {
        const takenAt = new Date(Date.UTC(2026, 0, 1) + index);
        return { ...rest, takenAt, length: header.length, digest: digestOf(header), path: `/fake/${index}` };
      })
      .filter((backup) => backup.uuid === uuid)
      .toReversed();
  }

  takenFrom(volume: string): readonly HeaderBackup[] {
    return this.keys()
      .flatMap((uuid) => this.backups(uuid))
      .filter((backup) => backup.volume === volume);
  }

  read({ path }: HeaderBackup): Buffer {
    const kept = this.kept[Number(path.replace("/fake/", ""))];
    if (kept === undefined) throw new Error(`there is no copy ${path}`);
    return kept.header;
  }

  async destroy(uuid: KeyUuid): Promise<void> {
    await this.mayWrite();
    this.destroyed.push(uuid);
  }

  private async mayWrite(): Promise<void> {
    await Promise.resolve();
    if (!this.full) return;
    throw new LuksmithError("HEADER_BACKUP_FAILED", { what: "cannot keep a copy of a LUKS header" });
  }
}
