#!/bin/sh
# Usage: debian-root.sh DIR RELEASE MIRROR, as init of new mount, PID and IPC namespaces: a minimal Debian in memory at
# DIR. Prints the PID that nsenter takes, and lives until its standard input ends. Its death ends every process in it
# and takes its memory back, so nothing outlives a test that was killed.
set -eu
dir=$1 release=$2 mirror=$3
exec 3<&0 </dev/null

# this /proc is still the one outside, and so is the PID that it shows
read -r pid _ </proc/self/stat
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs "$dir"
debootstrap --variant=minbase "$release" "$dir" "$mirror" >&2
mount -t proc proc "$dir/proc"

# what the machine's own apt needs to reach the mirror
apt-config dump | grep -E '^Acquire::[^ ]*(Proxy|CaInfo|CaPath) ' >"$dir/etc/apt/apt.conf.d/90machine" || :
cp /etc/hosts "$dir/etc/hosts"
echo "$pid"
cat <&3 >/dev/null || :
