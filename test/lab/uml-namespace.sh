#!/bin/sh
# Usage: uml-namespace.sh MEMORY COMMAND [DEVICE…], as init of new mount and PID namespaces. Boots User-Mode Linux on the
# file system of this machine, read-only, with uml-init.sh as its init, the shell command COMMAND for it and the devices
# that DEVICE tells its kernel of: ubd0=FILE. Its console is our standard error. Prints the PID by which /proc shows this namespace, and `ended`
# when User-Mode Linux has; what it left is in /run/uml until our standard input ends. That also ends every process of
# the namespace: linux.uml has threads that would outlive it.
set -eu
memory=$1 command=$2 here=$(dirname "$(realpath "$0")") directory=$PWD
shift 2
# a background job gets /dev/null as fd 0, and the last line needs the real one
exec 3<&0 </dev/null

# this /proc is still the one outside, and so is the PID that it shows
read -r pid _ </proc/self/stat

# its kernel and its programs are processes that wait for each other at every system call: on one processor that is
# three times as fast as on two. Takes one that no other machine has, if there is one.
stay_on_one_of() {
  for processor; do
    exec 4<"$processor"
    if flock --nonblock 4 && stay_on "$processor"; then return; fi
    exec 4<&-
  done
  shift $((pid % $#))
  stay_on "$1" || :
}
stay_on() {
  taskset --cpu-list --pid "${1##*/cpu}" $$ >/dev/null 2>&1
}
stay_on_one_of /sys/devices/system/cpu/cpu[0-9]*

mount -t proc proc /proc
# also for the memory of User-Mode Linux, since /dev/shm is small in a container
mount -t tmpfs -o mode=0755,size=8G tmpfs /run
mkdir /run/uml /run/uml/results
printf '%s\n' "$command" >/run/uml/command
printf '%s\n' "$directory" >/run/uml/directory
install "$here/uml-init.sh" /run/uml/init
gcc -shared -fPIC -O2 -o /run/uml/xstate.so "$here/uml-xstate.c"
echo "$pid"

{
  cd /
  LD_PRELOAD=/run/uml/xstate.so TMPDIR=/run linux.uml mem="$memory" root=/dev/root rootfstype=hostfs rootflags=/ ro \
    init=/run/uml/init con=null con0=null,fd:2 quiet uml_dir=/run/umid/ "$@" 3<&- 4<&- >&2 || :
  echo ended
} &
cat <&3 >/dev/null &
wait $!
