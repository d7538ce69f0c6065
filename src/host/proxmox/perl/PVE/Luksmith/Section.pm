package PVE::Luksmith::Section;

# SPDX-License-Identifier: Apache-2.0
# The section of a storage of type luksmith in storage.cfg: its properties, and the engine's own record of it. A node
# without the plugin strips sections that it does not know, for the whole cluster; the record shows it at the next start.

use v5.36;

use PVE::Luksmith::Base;
use PVE::Luksmith::Engine;

# Not called `path` or `pool`: Proxmox VE takes storages that have those for storages of its own kinds.
sub properties () {
    return {
        'base-path' => {
            description => 'Directory for the encrypted volumes, used for nothing else.',
            type        => 'string',
            format      => 'pve-storage-path',
        },
        'base-vg' => {
            description => 'LVM volume group for the encrypted volumes.',
            type        => 'string',
            format      => 'pve-storage-vgname',
        },
        'base-thinpool' => {
            description => 'Thin pool in the volume group.',
            type        => 'string',
            format      => 'pve-storage-vgname',
        },
        'base-pool' => {
            description => 'Ceph pool for the encrypted volumes.',
            type        => 'string',
            pattern     => '[^@/:\s-][^@/:\s]*',
        },
        'base-namespace' => {
            description => 'Namespace in the Ceph pool.',
            type        => 'string',
            pattern     => '[^@/:\s-][^@/:\s]*',
        },
        'base-conf' => {
            description => "Path of ceph.conf, if it is not Ceph's own default.",
            type        => 'string',
            format      => 'pve-storage-path',
        },
        'base-user' => {
            description => 'Ceph user without "client.", if it is not admin.',
            type        => 'string',
            pattern     => '[^\s-]\S*',
        },
        'base-zfs' => {
            description => 'ZFS pool or dataset for the encrypted volumes.',
            type        => 'string',
            pattern     => '[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9_.:-]+)*',
        },
        'encryption-profile' => {
            description => "Profile of Luksmith's settings for new volumes.",
            type        => 'string',
            pattern     => '[A-Za-z0-9][A-Za-z0-9_.-]*',
        },
    };
}

sub options () {
    my %fixed = map { $_ => { optional => 1, fixed => 1 } } grep { m/^base-/ } keys properties()->%*;
    my %free  = map { $_ => { optional => 1 } } qw(encryption-profile content nodes disable shared bwlimit);
    return { %fixed, %free };
}

# Changes what Proxmox VE has parsed. Dies for nothing: a section that cannot be used must not keep others from being read
# and written, and whoever uses it is told.
sub complete ($settings) {
    $settings->{shared} = 1 if defined($settings->{'base-pool'});
    return $settings;
}

# Dies if the new section does not describe one base.
sub add ($storeid, $scfg) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    $base->make if $base->can('make');
    record($storeid, $scfg);
    return;
}

# $changed and $deleted as Proxmox VE gives them. Recorded whatever has changed: the record may be lost or damaged.
sub update ($storeid, $scfg, $changed, $deleted) {
    my %after = $scfg->%*;
    delete @after{ ($deleted // [])->@* };
    $after{$_} = $changed->{$_} for keys $changed->%*;
    record($storeid, \%after);
    return;
}

sub record ($storeid, $scfg) {
    my $storage = PVE::Luksmith::Base::of($scfg, $storeid)->storage_json;
    PVE::Luksmith::Engine::bridge({ op => 'record-storage', storage => $storage });
    return;
}

# Also a section that describes no base.
sub forget ($storeid) {
    PVE::Luksmith::Engine::bridge({ op => 'forget-storage', storage => { id => $storeid } });
    return;
}

1;
