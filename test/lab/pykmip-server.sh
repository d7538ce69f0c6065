#!/bin/sh
# usage: pykmip-server.sh DIR, with DIR/server.conf written
# Starts PyKMIP's server, and again after each line of standard input, having killed it; prints the PID each time. When
# its standard input ends it kills the server, says what it said, and removes DIR; when it is killed itself, the server
# dies with it. The server has a PID namespace of its own, since it has helpers that would live on.
set -eu
dir=$1
# a background job gets /dev/null as fd 0, and the loop needs the real one
exec 3<&0 </dev/null
cd "$dir"

namespace=
server=
end() {
  # the namespace ends with its first process, and unshare with that
  [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || :
  [ -n "$server" ] || [ -z "$namespace" ] || kill -KILL "$namespace" 2>/dev/null || :
  wait
}
finish() {
  end
  cat server.out server.log >&2 2>/dev/null || :
  rm -rf -- "$dir"
}
trap finish EXIT

start() {
  setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL \
    pykmip-server -f "$dir/server.conf" -l "$dir/server.log" >>server.out 2>&1 3<&- &
  namespace=$!
  server=
  while [ -z "$server" ] && kill -0 "$namespace" 2>/dev/null; do
    read -r server <"/proc/$namespace/task/$namespace/children" || :
  done
  echo "$server"
}

start
while read -r _ <&3; do
  end
  start
done
