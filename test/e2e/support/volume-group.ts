import { afterAll, beforeAll } from "vitest";
import { VolumeGroup } from "../../lab/volume-group.js";
import { MIB } from "./volumes.js";

/** One volume group for all tests of a file. */
export function volumesForThisFile(): { newVolume(): string; readonly group: VolumeGroup } {
  let group: VolumeGroup | undefined;
  let made = 0;
  beforeAll(() => {
    group = new VolumeGroup({ size: 1024 * MIB });
  });
  afterAll(() => group?.[Symbol.dispose]());
  const started = () => {
    if (group === undefined) throw new Error("the volume group is not there yet");
    return group;
  };
  return {
    get group() {
      return started();
    },
    newVolume: () => started().create(`vm${++made}`, 16 * MIB),
  };
}
