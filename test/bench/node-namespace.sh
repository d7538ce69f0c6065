#!/bin/sh
# node-namespace.sh PROGRAM [ARGUMENT…], in a mount namespace of its own: runs the program where /etc/pve is a file
# system and /run is empty. All of it is in memory, and goes with the namespace.
set -eu
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/etc /run/etc-work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc-work overlay /etc
mkdir -p /etc/pve
mount -t tmpfs -o mode=0755 tmpfs /etc/pve
exec "$@"
