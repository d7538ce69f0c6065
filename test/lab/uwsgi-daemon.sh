#!/bin/sh
# usage: uwsgi-daemon.sh DIR UWSGI-ARGUMENTS..., where DIR is the HOME of the application
# Starts uwsgi in a process group of its own, and prints the group's id. Each line on standard input
# kills it (kill -9) and starts it again, with the id of the new group printed. When standard input ends it kills it, says
# what it said, and removes DIR; when it is killed itself, uwsgi dies with it.
set -eu
dir=$1
shift
# a background job gets /dev/null as fd 0, and the commands come from the real one
exec 3<&0 </dev/null

group=
end() {
  # one that fails to start is dead already
  kill -KILL "-$group" 2>/dev/null || :
  wait
  # the others of the group are not our children, and the ports are theirs until they are gone; five seconds at most
  left=250
  while kill -0 "-$group" 2>/dev/null && [ $left -gt 0 ]; do
    left=$((left - 1))
    sleep 0.02
  done
}
finish() {
  end
  cat "$dir/uwsgi.out" >&2 || :
  rm -rf -- "$dir"
}
trap finish EXIT

start() {
  # setsid does not fork here, so that the group's id is the job's
  HOME=$dir setsid setpriv --pdeathsig KILL uwsgi_python3 "$@" >>"$dir/uwsgi.out" 2>&1 3<&- &
  group=$!
  echo "$group"
}

start "$@"
while read -r _ <&3; do
  end
  start "$@"
done
