/** A logical volume, by the names of its volume group and its own. */
export interface LvName {
  readonly group: string;
  readonly volume: string;
}

/** What LVM allows; the two together are no longer than 126 characters, which LVM itself sees to. */
const NAME = /^(?!-|\.{1,2}$)[a-zA-Z0-9+_.-]{1,127}$/;

/** As LVM's commands take it. */
export function fullName({ group, volume }: LvName): string {
  return `${group}/${volume}`;
}

/** The logical volume of which `/dev/VG/LV` or `/dev/mapper/VG-LV` would be the path; undefined for any other path. */
export function lvNameOf(path: string): LvName | undefined {
  const [, directory = "", name = ""] = /^\/dev\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  return directory === "mapper" ? parseMapperName(name) : legal(directory, name);
}

/** Its device's name in device-mapper, where one dash stands between the names and their own dashes are doubled. */
export function mapperName({ group, volume }: LvName): string {
  return [group, volume].map((name) => name.replaceAll("-", "--")).join("-");
}

/** Undefined for what is no name of a logical volume, or of a layer below one: `VG-LV-real`. */
export function parseMapperName(name: string): LvName | undefined {
  // a volume group's name may end with a dash, and no name begins with one: the last dash of several stands between
  const [, group = "", volume = ""] = /^((?:[^-]|--)+)-((?:[^-]|--)+)$/.exec(name) ?? [];
  return legal(group.replaceAll("--", "-"), volume.replaceAll("--", "-"));
}

export function isLvmName(name: string): boolean {
  return NAME.test(name);
}

function legal(group: string, volume: string): LvName | undefined {
  return isLvmName(group) && isLvmName(volume) ? { group, volume } : undefined;
}
