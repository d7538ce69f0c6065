#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# What rbd and ceph are asked, and what is made of their JSON. The programs are fakes that print what those of Ceph 18 do.
use v5.36;
use JSON ();
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $GIB = 1024 * 1024 * 1024;
my $MIB = 1024 * 1024;
my @ALL = ('--pool', 'vms', '--namespace', 'ns', '--format', 'json');
my @CLUSTER = ('--conf', '/etc/ceph/b.conf', '--id', 'enc');

storages("luksmith: ceph\n\tbase-pool vms\n\tbase-namespace ns\n\tbase-conf /etc/ceph/b.conf\n\tbase-user enc\n",
    "luksmith: plain\n\tbase-pool vms\n");
my $cfg = config();

my %RBD = (
    ls => [
        { image => 'base-100-disk-0', size => $GIB + 2 * $MIB, format => 2 },
        { image => 'base-100-disk-0', snapshot => '__base__', size => $MIB, format => 2, protected => 'true' },
        {
            image  => 'vm-101-disk-0', size => 2 * $GIB + 2 * $MIB, format => 2,
            parent => { pool => 'vms', pool_namespace => 'ns', image => 'base-100-disk-0', snapshot => '__base__' },
        },
        {
            image  => 'vm-102-disk-0', size => $GIB, format => 2,
            parent => { pool => 'other', image => 'base-100-disk-0', snapshot => '__base__' },
        },
        { image => 'backup', size => $GIB, format => 2 },
    ],
    info => { name => 'vm-101-disk-0', size => 2 * $GIB + 2 * $MIB },
    snap => [
        { id => 3, name => '__base__', size => $GIB, timestamp => 'Sun Nov 22 18:42:37 2026' },
        { id => 4, name => 'daily', size => $GIB, protected => 'false', timestamp => 'Mon Nov  2 18:42:37 2026' },
    ],
);
my %PROGRAMS = (
    '/usr/bin/rbd' => sub (@arguments) {
        my ($command) = grep { $RBD{$_} } @arguments;
        return JSON->new->encode($RBD{$command});
    },
    '/usr/bin/ceph' => sub (@) {
        return JSON->new->encode({
            stats => {},
            pools => [
                { name => 'rbd', stats => { max_avail => 1, stored => 1 } },
                { name => 'vms', stats => { max_avail => 90 * $GIB, stored => 10 * $GIB, bytes_used => 30 * $GIB } },
            ],
        });
    },
);

subtest 'one rbd for a listing' => sub {
    my $list;
    my @calls = with_programs(\%PROGRAMS, sub { $list = PVE::Storage::vdisk_list($cfg, 'ceph')->{ceph} });
    is_deeply(\@calls, [['/usr/bin/rbd', @CLUSTER, 'ls', '-l', @ALL]]);
    is_deeply([map { [$_->@{qw(volid size)}] } $list->@*], [
        ['ceph:base-100-disk-0', $GIB],
        ['ceph:base-100-disk-0/vm-101-disk-0', 2 * $GIB],
        ['ceph:vm-102-disk-0', $GIB - 2 * $MIB],
    ]);
    @calls = with_programs(\%PROGRAMS, sub { PVE::Storage::vdisk_list($cfg, 'plain') });
    is_deeply(\@calls, [['/usr/bin/rbd', 'ls', '-l', '--pool', 'vms', '--format', 'json']], 'without options');
};

subtest 'one volume' => sub {
    my $size;
    my @calls = with_programs(\%PROGRAMS,
        sub { $size = PVE::Storage::volume_size_info($cfg, 'ceph:base-100-disk-0/vm-101-disk-0') });
    is($size, 2 * $GIB);
    is_deeply(\@calls, [['/usr/bin/rbd', @CLUSTER, 'info', '--image', 'vm-101-disk-0', @ALL]]);
};

subtest 'numbers are untainted, and asked for in time' => sub {
    my @calls = with_programs(\%PROGRAMS, sub {
        untainted(PVE::Storage::vdisk_list($cfg, 'ceph')->{ceph}, PVE::Storage::volume_snapshot_info($cfg, 'ceph:vm-102-disk-0'),
            PVE::Storage::storage_info($cfg)->{ceph}, [PVE::Storage::volume_size_info($cfg, 'ceph:vm-101-disk-0', 7)]);
    });
    is($calls[-1]->[-1], 'timeout 7');
};

subtest 'variables of the firmware are cached by librbd' => sub {
    my ($base, $node) = (PVE::Luksmith::Base::of($cfg->{ids}->{ceph}, 'ceph'));
    my $of = sub (%hints) { PVE::Luksmith::Native::encrypted_node($base, 'vm-101-disk-0', undef, 'ceph:x', \%hints) };
    is_deeply([with_programs({ %PROGRAMS, '/usr/bin/rbd' => sub (@) { return '' } }, sub { $node = $of->('efi-disk' => 1) })],
        [[
            '/usr/bin/rbd', @CLUSTER, 'config', 'image', 'set', '--image', 'vm-101-disk-0', 'rbd_cache_policy', 'writeback',
            '--pool', 'vms', '--namespace', 'ns',
        ]]);
    is_deeply($node->{cache}, { direct => JSON::false(), 'no-flush' => JSON::false() });
    is_deeply([with_programs(\%PROGRAMS, sub { $node = $of->() })], [], 'other disks are not');
    is($node->{cache}, undef);
};

subtest 'snapshots, without that of the template' => sub {
    my $info;
    my @calls = with_programs(\%PROGRAMS, sub { $info = PVE::Storage::volume_snapshot_info($cfg, 'ceph:vm-102-disk-0') });
    is_deeply(\@calls, [['/usr/bin/rbd', @CLUSTER, 'snap', 'ls', '--image', 'vm-102-disk-0', @ALL]]);
    is_deeply([keys $info->%*], ['daily']);
    is($info->{daily}->{id}, '4');
    like(scalar(localtime($info->{daily}->{timestamp})), qr/\AMon Nov  2 18:42:37 2026\z/);
};

subtest 'space without replication' => sub {
    my $info;
    my @calls = with_programs(\%PROGRAMS, sub { $info = PVE::Storage::storage_info($cfg)->{ceph} });
    is_deeply($calls[0], ['/usr/bin/ceph', @CLUSTER, 'df', '--format', 'json']);
    is_deeply($info, { total => 100 * $GIB, avail => 90 * $GIB, used => 10 * $GIB, active => 1 });
};

subtest 'QEMU opens the image itself' => sub {
    my %of = map { $_ => PVE::Luksmith::Base::of($cfg->{ids}->{$_}, $_) } qw(ceph plain);
    is_deeply($of{plain}->blockdev('vm-101-disk-0'), { driver => 'rbd', pool => 'vms', image => 'vm-101-disk-0' });
    is_deeply($of{ceph}->blockdev('vm-101-disk-0', 'daily'), {
        driver => 'rbd', pool => 'vms', namespace => 'ns', image => 'vm-101-disk-0', snapshot => 'daily',
        conf => '/etc/ceph/b.conf', user => 'enc',
    });
    is($of{ceph}->path_of('vm-101-disk-0'), undef, 'no path');
};

subtest 'a cluster that fails is an error' => sub {
    with_programs({ '/usr/bin/rbd' => sub (@) { die "rbd: error opening pool 'vms'\n" } }, sub {
        dies_like(sub { PVE::Storage::vdisk_list($cfg, 'ceph') },
            qr/cannot list the images of storage 'ceph': rbd: error opening pool/, 'error');
    });
};

done_testing();
