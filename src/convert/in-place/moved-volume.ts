/** A volume whose payload is moved; nobody else writes to it meanwhile. */
export interface MovedVolume {
  /** For messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Up to `length` bytes from `offset`: fewer at the volume's end only.
   * @param into may be used for them @throws VOLUME_UNREADABLE
   */
  read(offset: number, length: number, into?: Buffer): Promise<Buffer>;
  /** @throws VOLUME_WRITE_FAILED */
  write(offset: number, bytes: Buffer): Promise<void>;
  /** Waits until the storage has all that was written. @throws VOLUME_WRITE_FAILED */
  flush(): Promise<void>;
}
