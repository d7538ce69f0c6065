#!/bin/sh
# usage: ceph-daemons.sh DIR FSID MONITOR-ADDRESSES, with DIR/ceph.conf written
# Makes the keyrings, a monitor and an OSD, and starts both; prints their PIDs when the monitor answers. When its
# standard input ends it kills them, says what they said, and removes DIR; when it is killed itself, they die with it.
set -eu
dir=$1 fsid=$2 addresses=$3
# a background job gets /dev/null as fd 0, and the last line needs the real one
exec 3<&0 </dev/null
# what the tools say is for people, and only of use when one of them fails
exec 4>&1 >&2
cd "$dir"
export CEPH_CONF="$dir/ceph.conf"

daemons=
finish() {
  # one that fails to start is dead already
  kill -KILL $daemons 2>/dev/null || :
  wait
  cat ./*.out >&2 || :
  rm -rf -- "$dir"
}
trap finish EXIT

key() { ceph-authtool --create-keyring "$1.keyring" --name "$@" --gen-key; }
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
ceph-authtool mon..keyring --import-keyring client.admin.keyring
ceph-authtool mon..keyring --import-keyring osd.0.keyring

mkdir mon osd
monmaptool --create --fsid "$fsid" --addv a "$addresses" monmap
ceph-mon --id a --mkfs --monmap monmap --keyring mon..keyring
setpriv --pdeathsig KILL ceph-mon --id a --foreground >mon.out 2>&1 3<&- 4>&- &
daemons=$!

osd=$(cat /proc/sys/kernel/random/uuid)
ceph-osd --id 0 --mkfs --no-mon-config --osd-uuid "$osd"
timeout 30 ceph osd new "$osd"
setpriv --pdeathsig KILL ceph-osd --id 0 --foreground >osd.out 2>&1 3<&- 4>&- &
daemons="$daemons $!"

echo "$daemons" >&4
cat <&3 >/dev/null
