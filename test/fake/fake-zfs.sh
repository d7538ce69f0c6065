#!/bin/sh
# Usage: fake-zfs.sh STATE ARGUMENT…
# A FAKE of zfs(8), since no machine of these tests has ZFS. It knows the calls that Luksmith makes and no others. What
# it prints has the form that zfs-get(8), zfs-list(8), zfs-set(8), zfs-create(8) and zfs-destroy(8) of OpenZFS 2.x
# describe with -H and -p (no header, one tab between columns, exact numbers), its messages are those of libzfs, and
# its exit codes those of zfs(8). A volume is a device of device-mapper that stands in for the zvol:
#   STATE/NAME/@/device      which one, a name under /dev/mapper, and the device that it lies on
#   STATE/NAME/@/snapshots   full names, one a line; other files there are the properties that it has, by name
#   STATE/spare              the device that the next new volume gets
#   STATE/failure            if it is there: a subcommand, and with what message it fails
state=$1 command=$2
shift 2

fail() { echo "$1" >&2 && exit 1; }
misunderstand() { echo "FAKE zfs does not know: zfs $command $*" >&2 && exit 2; }
enter() { cd "$state/$1/@" 2>/dev/null || fail "$2 '$1': dataset does not exist"; }
link_of() { echo "/dev/zvol/$1" | tr ' ' +; }
rounded() { echo $((($1 + $2 - 1) / $2 * $2)); }
resize() { # BYTES: of the volume that was entered
  read -r mapping below <device
  dmsetup load "$mapping" --table "0 $(($1 / 512)) linear $below 0" && dmsetup --verifyudev resume "$mapping"
}

if [ -e "$state/failure" ]; then
  read -r failing message <"$state/failure"
  [ "$failing" != "$command" ] || fail "$message"
fi

case "$command $#" in
"get 5")
  [ "$1 $2 $3" = "-Hp -o property,value" ] || misunderstand "$@"
  enter "$5" "cannot open"
  for property in $(echo "$4" | tr , ' '); do
    if [ "$property" = volsize ]; then
      value=$(blockdev --getsize64 "/dev/mapper/$(cut -d ' ' -f 1 device)")
    else
      value=$(cat "$property" 2>/dev/null) || misunderstand "$@"
    fi
    printf '%s\t%s\n' "$property" "$value"
  done
  ;;
"list 8")
  [ "$1 $2 $3 $4 $5 $6 $7" = "-H -o name -t snapshot -d 1" ] || misunderstand "$@"
  enter "$8" "cannot open"
  cat snapshots
  ;;
"set 2")
  enter "$2" "cannot open"
  size=${1#volsize=}
  [ "$(rounded "$size" "$(cat volblocksize)")" = "$size" ] ||
    fail "cannot set property for '$2': 'volsize' must be a multiple of volume block size (16K)"
  resize "$size"
  ;;
"create 6")
  [ "$1 $2 $3 $4" = "-s -o volmode=dev -V" ] || misunderstand "$@"
  [ ! -e "$state/$6" ] || fail "cannot create '$6': dataset already exists"
  [ -e "$state/${6%/*}" ] || fail "cannot create '$6': parent does not exist"
  mkdir -p "$state/$6/@" && cd "$state/$6/@" || exit 1
  cp "$state"/new/* . && cp "$state/spare" device
  resize "$(rounded "$5" "$(cat volblocksize)")"
  ln -s "/dev/mapper/$mapping" "$(link_of "$6")"
  ;;
"destroy 1")
  enter "$1" "cannot open"
  cd / && rm -rf "${state:?}/$1" "$(link_of "$1")"
  ;;
*) misunderstand "$@" ;;
esac
