package PVE::Luksmith::InUse;

# SPDX-License-Identifier: Apache-2.0
# Whether the running guest that owns a volume has it open natively on this node: then nobody may export it, because two
# writers of one volume destroy it.

use v5.36;

use JSON ();
use PVE::Luksmith::Interruption;
use PVE::Luksmith::Names;

my @IDENTITY = qw(driver filename pool namespace image snapshot);

# $base and $name: the volume on its base. Where QEMU runs but cannot be asked, a volume that cannot be found otherwise
# counts as in use: whoever wants it then gets an error, and can try again.
sub in_use_natively ($vmid, $base, $name) {
    my $pid   = running($vmid) // return 0;
    my $node  = $base->blockdev($name, undef);
    my $nodes = eval {
        PVE::QemuServer::Monitor::mon_cmd($vmid, 'query-named-block-nodes', flat => JSON::true());
    };
    PVE::Luksmith::Interruption::pass_on($@);
    return (grep { is_of($_, $node) && !may_change($name, $_) } $nodes->@*) ? 1 : 0 if ref($nodes) eq 'ARRAY';

    # it may have ended since
    return 0 if !running($vmid);
    return defined($node->{filename}) ? has_open($pid, $node->{filename}) : 1;
}

# Pid of the guest's QEMU on this node. A process that only works with storages has not loaded what knows it.
sub running ($vmid) {
    my ($safe) = $vmid =~ m/\A([1-9][0-9]{2,8})\z/ or return;
    local $@;
    my $pid = eval {
        require PVE::QemuServer::Helpers;
        require PVE::QemuServer::Monitor;
        PVE::QemuServer::Helpers::vm_running_locally($safe);
    };
    PVE::Luksmith::Interruption::pass_on($@);
    return $pid;
}

# Proxmox VE writes a new cloud-init image while the guest has the old one in its drive, which only reads.
sub may_change ($name, $found) {
    return PVE::Luksmith::Names::is_cloudinit($name) && $found->{ro};
}

# QEMU names a node by the name of its file, or by its options where they do not fit into a name.
sub is_of ($found, $node) {
    my $file = $found->{file} // '';
    my $open = $file =~ m/\Ajson:(.+)\z/s ? eval { JSON::decode_json($1) } : { filename => $file };
    $open = { ($open // {})->%*, driver => $found->{drv} // '' };
    return !grep { ($open->{$_} // '') ne ($node->{$_} // '') } @IDENTITY;
}

# By device and inode, or by the number of the device, whatever name it was opened by.
sub has_open ($pid, $path) {
    my @wanted = stat($path)              or return 0;
    opendir(my $directory, "/proc/$pid/fd") or return 1;
    my @fds = grep { m/\A[0-9]+\z/ } readdir($directory);
    closedir($directory);
    for my $fd (@fds) {
        my @open = stat("/proc/$pid/fd/$fd") or next;
        return 1 if $wanted[6] ? $open[6] == $wanted[6] : $open[0] == $wanted[0] && $open[1] == $wanted[1];
    }
    return 0;
}

1;
