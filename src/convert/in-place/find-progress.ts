import type { KeyUuid } from "../../keystore/key-uuid.js";
import type { Secret } from "../../secret/secret.js";
import { PAYLOAD_OFFSET } from "../../encryption/luks-header.js";
import { type Progress, signpostAt, signpostPlaces, SIGNPOST_LENGTH, UNIT } from "./geometry.js";
import type { MovedVolume } from "./moved-volume.js";
import { Signposts } from "./signpost.js";

/** How far from the place that the journal tells to look before all of the volume is read: the journal lags behind. */
const NEAR = 512 * UNIT;

export interface Found {
  readonly progress: Progress;
  readonly signposts: Signposts;
}

/**
 * How far an earlier call has come: what the newest signpost says. Undefined is certain: there is none, anywhere on the
 * volume. Then nothing was moved yet, or all that follows the moving is done as well.
 * @param hint what the host's journal knows, if it is there
 * @throws VOLUME_UNREADABLE
 */
export async function findProgress(
  volume: MovedVolume,
  { uuid, passphrase }: { readonly uuid: KeyUuid; readonly passphrase: Secret },
  hint?: Progress,
): Promise<Found | undefined> {
  const search = new Search(volume, uuid, passphrase);
  if (hint !== undefined) {
    const at = signpostAt(hint);
    await search.look(at - NEAR, at + NEAR);
  }
  if (search.found === undefined) await search.look(0, volume.size);
  // the newest may stand just beyond what was looked at
  for (let last; last !== search.found;) {
    last = search.found;
    if (last !== undefined) await search.around(signpostAt(last.progress));
  }
  return search.found;
}

class Search {
  found: Found | undefined;

  constructor(
    private readonly volume: MovedVolume,
    private readonly uuid: KeyUuid,
    private readonly passphrase: Secret,
  ) {}

  async around(place: number): Promise<void> {
    await this.look(place - 2 * PAYLOAD_OFFSET, place + 2 * PAYLOAD_OFFSET);
  }

  async look(from: number, to: number): Promise<void> {
    for (const place of signpostPlaces(from, Math.min(to, this.volume.size)))
      this.consider(await this.volume.read(place, SIGNPOST_LENGTH), place);
  }

  private consider(bytes: Buffer, place: number): void {
    const { uuid, passphrase, found } = this;
    if (found === undefined) {
      const opened = Signposts.open(uuid, passphrase, bytes);
      if (opened !== undefined && signpostAt(opened.progress) === place) this.found = opened;
      else opened?.signposts[Symbol.dispose]();
      return;
    }
    const progress = found.signposts.read(bytes);
    if (progress === undefined || signpostAt(progress) !== place) return;
    if (isFurther(progress, found.progress)) this.found = { ...found, progress };
  }
}

function isFurther({ to, mark }: Progress, than: Progress): boolean {
  return to === "encrypted" ? mark < than.mark : mark > than.mark;
}
