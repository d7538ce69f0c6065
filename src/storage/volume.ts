/** How the storage names a disk's bytes. Paths are absolute; nothing here was opened yet. */
export type Volume =
  | PathVolume
  | RbdVolume
  /** An empty drive. */
  | { readonly kind: "none" }
  /**
   * A source that no storage backend encrypts; `description` is for messages: `network disk rbd/vm-1`. `path`, where
   * it has one, is for the operator's rules to match, and never opened. `pathUnknown` where it can be any path of this
   * host, which the configuration does not tell.
   */
  | {
      readonly kind: "other";
      readonly description: string;
      readonly path?: string;
      readonly pathUnknown?: true;
    };

/** An image file or a block device of this host. */
export type PathVolume =
  | { readonly kind: "file"; readonly path: string; readonly format: VolumeFormat }
  | { readonly kind: "block"; readonly path: string; readonly format: VolumeFormat };

/** An image of a Ceph cluster, reached over the network and never mapped by the kernel. */
export interface RbdVolume {
  readonly kind: "rbd";
  readonly pool: string;
  readonly namespace?: string;
  readonly image: string;
  /** Of the image, to be read only. */
  readonly snapshot?: string;
  /** Image format inside, which can be raw only. */
  readonly format: VolumeFormat;
  /** The cephx user without `client.`; without it the settings' one. */
  readonly user?: string;
  /** Absolute path of ceph.conf; without it the settings' one. */
  readonly conf?: string;
  /** `host:port` of the monitors; without them those of ceph.conf. */
  readonly monitors?: readonly string[];
}

/** The image format inside: `<driver type>` of libvirt, `raw` where it is not said. */
export type VolumeFormat = "raw" | "qcow2" | "other";

/** The volume in words that people and key records use: its path, or `rbd:pool/namespace/image`. */
export function volumeName(volume: Volume): string {
  switch (volume.kind) {
    case "file":
    case "block":
      return volume.path;
    case "rbd":
      return rbdName(volume);
    case "none":
      return "empty drive";
    case "other":
      return volume.description;
  }
}

function rbdName({ pool, namespace, image, snapshot }: RbdVolume): string {
  const name = [pool, namespace, image].filter((part) => part !== undefined).join("/");
  return `rbd:${name}${snapshot === undefined ? "" : `@${snapshot}`}`;
}

/** Whether the kernel can decrypt it: dm-crypt sees bytes, and no image format inside them. */
export function isMappable(volume: Volume): volume is PathVolume {
  return (volume.kind === "file" || volume.kind === "block") && volume.format === "raw";
}
