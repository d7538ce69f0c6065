#!/bin/sh
# The init of User-Mode Linux (uml-namespace.sh). The root file system is that of the machine, read-only: whatever is
# written goes to file systems in memory that end with this kernel. Runs /run/uml/command as root where it was asked
# for; its output and its exit code go to /run/uml/results, which is seen outside.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root

mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
ip link set lo up

# what programs of the host have in /run does not exist here: without udev's files there, nothing waits for udev
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/uml /run/lock /run/modules/lib
mount -t hostfs -o /run/uml hostfs /run/uml

# the kernel's modules are not where it looks for them
ln -s /usr/lib/uml/modules /run/modules/lib/modules
printf '#!/bin/sh\nexec modprobe -d /run/modules "$@"\n' >/run/modules/modprobe
chmod +x /run/modules/modprobe
echo /run/modules/modprobe >/proc/sys/kernel/modprobe
/run/modules/modprobe -a overlay loop dm-mod dm-crypt dm-thin-pool dm-snapshot dm-flakey dm-delay dm-zero

directory=$(cat /run/uml/directory)
for scratch in /tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$scratch"; done
# a checkout that is in one of these is seen all the same
if ! [ -d "$directory" ]; then
  mkdir -p "$directory"
  mount -t hostfs -o "$directory" hostfs "$directory"
fi
for tree in /etc /var /root "$directory"; do
  layer=/run/.layers$tree
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay -o "lowerdir=$tree,upperdir=$layer/upper,workdir=$layer/work" overlay "$tree"
done

mkdir -p /etc/lvm
cat >/etc/lvm/lvm.conf <<END
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" use_devicesfile = 0 }
backup { backup = 0 archive = 0 }
global { use_lvmpolld = 0 }
END

cd "$directory" || exit
env -i PATH="$PATH" HOME="$HOME" LC_ALL="$LC_ALL" sh /run/uml/command >/run/uml/results/output 2>&1 </dev/null
echo $? >/run/uml/results/exit-code
echo o >/proc/sysrq-trigger
sleep 60
