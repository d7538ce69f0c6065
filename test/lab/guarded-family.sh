#!/bin/sh
# guarded-family.sh DIRECTORY PROGRAM [ARGUMENT…]: as guarded-daemon.sh, for a program that starts others: when the
# directory goes, all of them are gone. Prints the id of a process that ends when they have.
set -eu
dir=$1
shift
exec 3<&0 </dev/null
# the first process of a PID namespace takes the others with it, and unshare ends after them
unshare --pid --fork --kill-child sh -c '"$@" 3<&- & cat <&3 >/dev/null' sh "$@" >>"$dir/log" 2>&1 &
echo "$!"
wait "$!" || :
rm -rf "$dir"
