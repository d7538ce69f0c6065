package PVE::QemuServer::Blockdev;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: the block graph of a drive (throttle, raw,
# and below what the storage plugin names), attached to and detached from a real QEMU or storage daemon.

use v5.36;

use Digest::SHA ();
use JSON ();
use PVE::QemuServer::Drive;
use PVE::QemuServer::Helpers;
use PVE::QemuServer::Machine;
use PVE::QemuServer::Monitor qw(qmp_cmd qsd_qmp_peer vm_qmp_peer);
use PVE::Storage;

sub bool ($value) { return $value ? JSON::true() : JSON::false() }

sub is_nbd ($drive) { return $drive->{file} =~ m/^nbd:/ }

sub get_node_name ($type, $drive_id, $volid, $options) {
    return "drive-$drive_id-fleecing" if $options->{fleecing} && $type eq 'fmt';
    my $of = join(',', $drive_id, $options->{'snapshot-name'} // '', $options->{fleecing} // '', $volid);
    return ($type eq 'fmt' ? 'f' : 'e') . substr(Digest::SHA::sha256_hex($of), 0, 30);
}

sub generate_throttle_group ($drive) {
    return { 'qom-type' => 'throttle-group', id => 'throttle-drive-' . PVE::QemuServer::Drive::get_drive_id($drive) };
}

sub common ($drive, $options) {
    my $read_only = $drive->{ro} || PVE::QemuServer::Drive::drive_is_cdrom($drive) || $options->{'read-only'};
    my %common = ('read-only' => bool($read_only));
    if (!PVE::QemuServer::Drive::drive_is_cdrom($drive)) {
        $common{discard}         = ($drive->{discard} // '') eq 'on' ? 'unmap' : 'ignore';
        $common{'detect-zeroes'} = ($drive->{discard} // '') eq 'on' ? 'unmap' : 'on';
    }
    return %common;
}

sub generate_file_blockdev ($storecfg, $drive, $machine_version, $options) {
    delete($options->{'snapshot-name'}) if ($options->{'snapshot-name'} // '') eq 'current';
    my $file = $drive->{file};
    my $node;
    if ($file =~ m/^nbd:unix:(\S+):exportname=(\S+)$/) {
        $node = { driver => 'nbd', server => { type => 'unix', path => "$1" }, export => "$2" };
    } elsif ($file =~ m{^(/.+)$}) {
        $node = { driver => 'file', filename => "$1" };
    } else {
        my %options = (hints => {});
        $options{'snapshot-name'} = $options->{'snapshot-name'} if defined($options->{'snapshot-name'});
        $node = PVE::Storage::qemu_blockdev_options($storecfg, $file, $machine_version, \%options);
    }
    my $direct = ($drive->{cache} // 'none') eq 'none';
    return {
        $node->%*,
        cache       => { direct => bool($direct), 'no-flush' => bool(0) },
        'node-name' => get_node_name('file', PVE::QemuServer::Drive::get_drive_id($drive), $file, $options),
        common($drive, $options),
    };
}

sub generate_drive_blockdev ($storecfg, $drive, $machine_version, $options) {
    my $drive_id = PVE::QemuServer::Drive::get_drive_id($drive);
    my $node     = generate_file_blockdev($storecfg, $drive, $machine_version, $options);
    if (!is_nbd($drive)) {
        die "$drive_id: the volume is raw, not $drive->{format}\n" if ($drive->{format} // 'raw') ne 'raw';
        $node = {
            driver      => 'raw',
            'node-name' => get_node_name('fmt', $drive_id, $drive->{file}, $options),
            cache       => $node->{cache},
            file        => $node,
            common($drive, $options),
        };
        $node->{size} = int($options->{size}) if defined($options->{size});
        PVE::Storage::volume_qemu_snapshot_method($storecfg, $drive->{file}) if $drive->{file} !~ m{^/};
    }
    return $node if grep { $options->{$_} } qw(fleecing tpm-backup no-throttle);
    return {
        driver           => 'throttle',
        'node-name'      => "drive-$drive_id",
        'throttle-group' => "throttle-drive-$drive_id",
        file             => $node,
        common($drive, $options),
    };
}

sub attach ($storecfg, $id, $drive, $options) {
    my $peer    = $options->{qsd} ? qsd_qmp_peer($id) : vm_qmp_peer($id);
    my $machine = $options->{qsd} ? 'pc-q35-10.0' : PVE::QemuServer::Machine::get_current_qemu_machine($id);
    my $node    = generate_drive_blockdev($storecfg, $drive, $machine, $options);
    my $group   = $node->{'throttle-group'};
    if ($group) {
        qmp_cmd($peer, 'object-del', id => $group, noerr => 1);
        qmp_cmd($peer, 'object-add', generate_throttle_group($drive)->%*);
    }
    if (!eval { qmp_cmd($peer, 'blockdev-add', $node->%*); 1 }) {
        my $error = $@;
        qmp_cmd($peer, 'object-del', id => $group, noerr => 1) if $group;
        die "adding blockdev '$node->{'node-name'}' failed : $error\n";
    }
    return ($node->{'node-name'}, $node->{'read-only'});
}

sub detach ($peer, $node_name, @) {
    my %nodes = map { ($_->{'node-name'} => $_) } qmp_cmd($peer, 'query-named-block-nodes')->@*;
    my $group = $nodes{$node_name} && $node_name =~ m/^drive-([a-z]+[0-9]+)$/ ? "throttle-drive-$1" : undef;
    my $said = qmp_cmd($peer, 'blockdev-del', 'node-name' => $node_name, noerr => 1);
    die "deleting blockdev '$node_name' failed : $said->{error}\n"
        if $said->{error} && $said->{error} !~ m/Failed to find node/;
    qmp_cmd($peer, 'object-del', id => $group) if $group;
    return;
}

1;
