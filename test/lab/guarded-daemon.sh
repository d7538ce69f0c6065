#!/bin/sh
# guarded-daemon.sh DIRECTORY PROGRAM [ARGUMENT…]: prints the program's process id, and kills it when standard input
# ends: when whoever started this says so, or died. The directory goes with it.
set -eu
dir=$1
shift
setpriv --pdeathsig KILL "$@" >>"$dir/log" 2>&1 3<&0 </dev/null &
pid=$!
echo "$pid"
cat >/dev/null || :
kill -KILL "$pid" 2>/dev/null || :
wait "$pid" 2>/dev/null || :
rm -rf "$dir"
