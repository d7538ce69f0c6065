import { LuksmithError } from "../../../error/luksmith-error.js";
import type { RbdBase as Place } from "../../../generated/proxmox-storage.js";
import { PATIENCE, RbdClient } from "../../../storage/rbd/rbd-client.js";
import { RbdImage } from "../../../storage/rbd/rbd-image.js";
import type { QemuNode } from "../../../storage/storage-backend.js";
import type { RbdVolume } from "../../../storage/volume.js";
import { volumeAbsent, volumeBusy, volumeExists } from "../../../storage/volume-error.js";
import type { BaseStorage } from "./base-storage.js";
import type { BasePorts } from "./index.js";
import { eraseHeader, NOTHING_TO_DO, requireLockable, saying } from "./volume-change.js";
import { isVolumeName } from "./volume-name.js";

/** What holds where the storage does not say it. */
const ACCESS = { user: "admin", conf: "/etc/ceph/ceph.conf" };

/** Images of one pool of a Ceph cluster, or of a namespace in it. */
export class RbdBase implements BaseStorage {
  readonly type = "rbd";

  /** @param patience seconds that the cluster may take to answer; shorter in tests */
  constructor(
    private readonly place: Omit<Place, "type">,
    private readonly ports: BasePorts,
    private readonly patience = PATIENCE,
  ) {}

  volume(name: string, snapshot?: string): RbdVolume {
    const { pool, namespace, user = ACCESS.user, conf = ACCESS.conf } = this.place;
    return {
      ...{ kind: "rbd", pool, image: name, format: "raw", user, conf },
      ...(namespace === undefined ? {} : { namespace }),
      ...(snapshot === undefined ? {} : { snapshot }),
    };
  }

  qemuNode(name: string, snapshot: string | undefined, secretId: string): QemuNode {
    return { driver: "luks", "key-secret": secretId, file: this.client(name, snapshot).node() };
  }

  async list(): Promise<string[]> {
    const { pool, namespace } = this.place;
    const all = [pool, ...(namespace === undefined ? [] : [namespace])].join("/");
    const unreadable = saying(`cannot list RBD pool ${all}`, "VOLUME_UNREADABLE");
    const names = await this.client("").list().catch(unreadable);
    return names.filter(isVolumeName).sort();
  }

  async requireUnused(name: string): Promise<void> {
    await using image = await this.open(name);
    if (image === undefined) return;
    await requireLockable(image, this.ports.locks).catch(saying(`volume ${image.name} is in use`));
  }

  async remove(name: string): Promise<void> {
    const client = this.client(name);
    const failed = saying(`cannot remove volume ${client.name}`);
    await using image = await this.open(name);
    if (image === undefined) return;
    const obstacle = await image.obstacle();
    if (obstacle !== undefined) failed(volumeBusy(client.name, `it has ${obstacle}`));
    // of a clone the header is its template's
    const isClone = (await client.info()).parent !== undefined;
    const work = isClone ? requireLockable(image, this.ports.locks) : eraseHeader(image, this.ports.locks);
    await work.catch(failed);
    await client.run("remove", "--no-progress").catch(failed);
  }

  async rename(name: string, to: string): Promise<void> {
    const [client, target] = [this.client(name), this.client(to)];
    const failed = saying(`cannot rename volume ${client.name}`);
    if ((await this.open(name)) === undefined) throw volumeAbsent(client.name);
    if ((await this.open(to)) !== undefined) throw volumeExists(target.name);
    await this.requireUnused(name);
    // the cluster replaces none
    await client.rename(to).catch(failed);
  }

  async activate(name: string, snapshot?: string): Promise<AsyncDisposable> {
    await this.client(name, snapshot).info();
    return NOTHING_TO_DO;
  }

  /** Undefined for an image that is not there. @throws VOLUME_UNREADABLE */
  private async open(name: string): Promise<RbdImage | undefined> {
    try {
      return await RbdImage.open(this.ports.runner, this.client(name));
    } catch (thrown) {
      if (thrown instanceof LuksmithError && thrown.code === "VOLUME_NOT_FOUND") return undefined;
      throw thrown;
    }
  }

  private client(name: string, snapshot?: string): RbdClient {
    return new RbdClient(this.ports.runner, this.volume(name, snapshot), ACCESS, this.patience);
  }
}
