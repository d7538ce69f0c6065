#!/bin/sh
# Usage: libvirt-namespace.sh DIR [STATE [ADDRESS]], as init of new mount, PID and UTS namespaces, and of a new network
# namespace where ADDRESS is given. Makes private every directory that libvirt and Luksmith use, those that outlive a
# host below STATE where that is given; prints the PID that nsenter takes, and lives until its standard input ends. Its
# death ends every process, mount and network interface of the namespace, so nothing outlives a test that was killed.
set -eu
dir=$1 state=${2-} address=${3-}
# a background job gets /dev/null as fd 0, and the last line needs the real one
exec 3<&0 </dev/null

# this /proc is still the one outside, and so is the PID that it shows
read -r pid _ </proc/self/stat
mount -t proc proc /proc

# a whole new /run hides D-Bus too: libvirtd would register its guests with the host's systemd-machined
mount -t tmpfs -o mode=0755 tmpfs /run
# overlays, so that a directory that the host lacks can be made
for tree in /etc /usr/local/share /var/lib /var/cache /var/log; do
  layer=/run/.layers$tree
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" overlay "$tree"
done
for private in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt \
  /etc/luksmith /var/lib/luksmith /var/log/luksmith; do
  mkdir -p "$private"
  if [ -n "$state" ]; then
    mkdir -p "$state$private"
    mount --bind "$state$private" "$private"
  else
    mount -t tmpfs -o mode=0755 tmpfs "$private"
  fi
done

# a host that starts anew still has its name
name=$(basename "$dir")
if [ -n "$state" ]; then
  [ -s "$state/hostname" ] || { echo "$name" >"$state/hostname" && sync "$state/hostname"; }
  name=$(cat "$state/hostname")
fi
hostname "$name"
listen=0
if [ -n "$address" ]; then
  listen=1
  ip link set lo up
fi
echo "${address:+--listen}" >/run/libvirtd.options
# libvirtd looks this user up even where guests run as root
grep -q '^libvirt-qemu:' /etc/group || echo 'libvirt-qemu:x:64055:' >>/etc/group
grep -q '^libvirt-qemu:' /etc/passwd ||
  echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
cat >/etc/libvirt/libvirtd.conf <<END
listen_tls = 0
listen_tcp = $listen
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
END
# a client that the network has lost is given up soon
[ -z "$address" ] || cat >>/etc/libvirt/libvirtd.conf <<END
auth_tcp = "none"
keepalive_interval = 1
keepalive_count = 4
END
cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
security_default_confined = 0
namespaces = [ ]
cgroup_controllers = [ ]
remember_owner = 0
stdio_handler = "file"
END
# nobody resolves the host's name. The source of a migration by itself (--p2p) gives a lost target up soon
[ -z "$address" ] || cat >>/etc/libvirt/qemu.conf <<END
migration_host = "$address"
keepalive_interval = 1
keepalive_count = 4
END

echo "$pid"
# waiting also reaps the guests that libvirtd leaves to init: a zombie would look alive to it
cat <&3 >/dev/null &
wait $!
