#!/bin/sh
# Runs a program on a Proxmox VE node of its own: what it writes below /etc, /var and /run is gone with it, as are the
# processes that it leaves. Usage: namespace.sh PROGRAM [ARGUMENT]...
set -eu

if [ "${LUKSMITH_TEST_NODE-}" != inside ]; then
    export LUKSMITH_TEST_NODE=inside
    exec unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- sh "$0" "$@"
fi
unset LUKSMITH_TEST_NODE

mount -t tmpfs -o mode=0755 tmpfs /mnt
for directory in etc var; do
    mkdir -p "/mnt/$directory/upper" "/mnt/$directory/work"
    mount -t overlay -o "lowerdir=/$directory,upperdir=/mnt/$directory/upper,workdir=/mnt/$directory/work" \
        overlay "/$directory"
done
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /etc/pve
mount -t tmpfs -o mode=0755 tmpfs /etc/pve
"$@"
