#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# What zfs is asked, and what is made of what it prints. The program is a fake that prints what OpenZFS 2.3 does.
use v5.36;
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $GIB = 1024 * 1024 * 1024;
my $MIB = 1024 * 1024;

storages("luksmith: tank\n\tbase-zfs tank/enc\n");
my $cfg = config();

sub row (@fields) { return join("\t", @fields) . "\n" }

my $SIZE    = $GIB + 2 * $MIB;
my @VOLUMES = (
    row('tank/enc/base-100-disk-0', $SIZE, 1024, 1700000000, '-'),
    row('tank/enc/vm-101-disk-0', $SIZE, 2048, 1700000001, 'tank/enc/base-100-disk-0@__base__'),
    row('tank/enc/vm-102-disk-0', $SIZE, 4096, 1700000002, 'tank/other/base-100-disk-0@__base__'),
    row('tank/enc/scratch', $SIZE, 1, 1700000003, '-'),
);
my @SNAPSHOTS = (
    row('tank/enc/vm-102-disk-0@__base__', 9, 1700000000),
    row('tank/enc/vm-102-disk-0@one', 11, 1700000001),
    row('tank/enc/vm-102-disk-0@two', 12, 1700000002),
    row('tank/enc/vm-102-disk-0@three', 13, 1700000003),
);
my %PROGRAMS = (
    '/sbin/zfs' => sub (@arguments) {
        return join('', @VOLUMES)   if grep { $_ eq 'volume' } @arguments;
        return join('', @SNAPSHOTS) if grep { $_ eq 'snapshot' } @arguments;
        return row(10 * $GIB, 90 * $GIB);
    },
);

subtest 'one zfs for a listing' => sub {
    my $list;
    my @calls = with_programs(\%PROGRAMS, sub { $list = PVE::Storage::vdisk_list($cfg, 'tank')->{tank} });
    is_deeply(\@calls, [
        ['/sbin/zfs', 'list', '-Hp', '-d', '0', '-o', 'used,available', '--', 'tank/enc'],
        [
            '/sbin/zfs', 'list', '-Hp', '-t', 'volume', '-d', '1', '-o', 'name,volsize,usedbydataset,creation,origin',
            '--', 'tank/enc',
        ],
    ]);
    is_deeply([map { [$_->@{qw(volid size used ctime)}] } $list->@*], [
        ['tank:base-100-disk-0', $GIB, 1024, 1700000000],
        ['tank:base-100-disk-0/vm-101-disk-0', $GIB, 2048, 1700000001],
        ['tank:vm-102-disk-0', $GIB, 4096, 1700000002],
    ]);
};

subtest 'numbers are untainted, and asked for in time' => sub {
    my @calls = with_programs(\%PROGRAMS, sub {
        untainted(PVE::Storage::vdisk_list($cfg, 'tank')->{tank}, PVE::Storage::volume_snapshot_info($cfg, 'tank:vm-102-disk-0'),
            PVE::Storage::storage_info($cfg)->{tank}, [PVE::Storage::volume_size_info($cfg, 'tank:vm-102-disk-0', 7)]);
    });
    is($calls[-1]->[-1], 'timeout 7');
};

subtest 'space is asked once' => sub {
    my $info;
    my @calls = with_programs(\%PROGRAMS, sub { $info = PVE::Storage::storage_info($cfg)->{tank} });
    is(scalar(@calls), 1);
    is_deeply($info, { total => 100 * $GIB, avail => 90 * $GIB, used => 10 * $GIB, active => 1 });
};

subtest 'only the newest snapshot is rolled back to' => sub {
    my @calls = with_programs(\%PROGRAMS, sub {
        is_deeply(PVE::Storage::volume_snapshot_info($cfg, 'tank:vm-102-disk-0'), {
            one   => { id => 11, timestamp => 1700000001 },
            two   => { id => 12, timestamp => 1700000002 },
            three => { id => 13, timestamp => 1700000003 },
        });
        ok(PVE::Storage::volume_rollback_is_possible($cfg, 'tank:vm-102-disk-0', 'three'));
        my $blockers = [];
        dies_like(sub { PVE::Storage::volume_rollback_is_possible($cfg, 'tank:vm-102-disk-0', 'one', $blockers) },
            qr/'one' is not its newest snapshot/, 'an older one');
        is_deeply($blockers, ['two', 'three']);
        dies_like(sub { PVE::Storage::volume_rollback_is_possible($cfg, 'tank:vm-102-disk-0', 'none') },
            qr/has no snapshot 'none'/, 'none');
    });
    is_deeply($calls[0], [
        '/sbin/zfs', 'list', '-Hp', '-t', 'snapshot', '-d', '1', '-s', 'createtxg', '-o', 'name,guid,creation', '--',
        'tank/enc/vm-102-disk-0',
    ], 'by age, which the clock does not tell');
};

subtest 'QEMU opens the device' => sub {
    my $base = PVE::Luksmith::Base::of($cfg->{ids}->{tank}, 'tank');
    is_deeply($base->blockdev('vm-102-disk-0'),
        { driver => 'host_device', filename => '/dev/zvol/tank/enc/vm-102-disk-0' });
    is($base->path_of('vm-102-disk-0', 'one'), '/dev/zvol/tank/enc/vm-102-disk-0@one');
    with_programs(\%PROGRAMS, sub {
        dies_like(sub { $base->activate('vm-999-disk-0') }, qr/does not exist/, 'a volume that is not there');
    });
};

done_testing();
