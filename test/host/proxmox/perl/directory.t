#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# A directory of real LUKS files: what is listed, how large it is, and what is not touched.
use v5.36;
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $MIB  = 1024 * 1024;
my $PATH = root() . '/srv/enc';

mkdir(root() . '/srv');
mkdir($PATH);
storages("luksmith: enc\n\tbase-path $PATH\n");
my $cfg  = config();
my $base = PVE::Luksmith::Base::of($cfg->{ids}->{enc}, 'enc');

luks_file("$PATH/vm-100-disk-0.luks", 8 * $MIB);
luks_file("$PATH/vm-100-disk-1.luks", 4 * $MIB, 4 * $MIB);
luks_file("$PATH/base-101-disk-0.luks", 512);

# one whose making was interrupted
spit("$PATH/vm-102-disk-0.luks", "\0" x (3 * $MIB));

# hostile and foreign names
spit("$PATH/$_", 'x' x 1024) for "vm-100-disk-2\n.luks", "vm-100-disk-3.luks\n", 'vm-100-disk-4', 'notes.txt',
    'vm-1-disk-0.luks', 'vm-100-disk-5 x.luks', '.vm-100-disk-6.luks', 'vm-100-..luks';
mkdir("$PATH/vm-100-disk-7.luks");
luks_file(root() . '/elsewhere', $MIB);
symlink(root() . '/elsewhere', "$PATH/vm-100-disk-8.luks");
system('/usr/bin/mkfifo', "$PATH/vm-100-disk-9.luks");

subtest 'regular files with names of volumes are listed' => sub {
    my $list = PVE::Storage::vdisk_list($cfg, 'enc')->{enc};
    is_deeply(
        [map { [$_->@{qw(volid vmid format size)}] } $list->@*],
        [
            ['enc:base-101-disk-0', 101, 'raw', 512],
            ['enc:vm-100-disk-0',   100, 'raw', 8 * $MIB],
            ['enc:vm-100-disk-1',   100, 'raw', 4 * $MIB],
            ['enc:vm-102-disk-0',   102, 'raw', $MIB],
        ],
        'with the size that the guest sees'
    );
    cmp_ok($list->[1]->{used}, '<', 8 * $MIB, 'a sparse file');
    cmp_ok($list->[1]->{ctime}, '>', time() - 600);

    my $of_100 = PVE::Storage::vdisk_list($cfg, 'enc', 100)->{enc};
    is_deeply([map { $_->{volid} } $of_100->@*], ['enc:vm-100-disk-0', 'enc:vm-100-disk-1'], 'of one guest');
    my $named = PVE::Storage::vdisk_list($cfg, 'enc', 100, ['enc:base-101-disk-0', 'enc:vm-100-disk-8'])->{enc};
    is_deeply([map { $_->{volid} } $named->@*], ['enc:base-101-disk-0'], 'by volume ID');
    is_deeply([map { $_->{content} } PVE::Storage::volume_list($cfg, 'enc', 102)->@*], ['images'], 'as images');
};

subtest 'numbers and names are untainted, with and without a limit of time' => sub {
    for my $info ($base->info('vm-100-disk-1'), $base->info('vm-100-disk-1', 5), values $base->list({})->%*) {
        untainted($info);
    }
    is_deeply($base->info('vm-100-disk-1', 5), $base->info('vm-100-disk-1'), 'the same');
    dies_like(sub { $base->info('vm-999-disk-0', 5) }, qr/does not exist/, 'an absent one');
    untainted(PVE::Storage::vdisk_list($cfg, 'enc')->{enc}, [$base->status({})]);
    no warnings 'redefine';
    local *PVE::Luksmith::Base::Directory::look = sub { sleep(30) };
    dies_like(sub { PVE::Storage::volume_size_info($cfg, 'enc:vm-100-disk-0', 1) }, qr/does not answer/, 'a limit');
};

subtest 'sizes' => sub {
    is(scalar(PVE::Storage::volume_size_info($cfg, 'enc:vm-100-disk-1')), 4 * $MIB, 'a header with an offset of its own');
    my ($size, $format, $used, $parent, $ctime) = PVE::Storage::volume_size_info($cfg, 'enc:vm-100-disk-0', 5);
    is_deeply([$size, $format, $parent], [8 * $MIB, 'raw', undef]);
    ok($used && $ctime, 'used, ctime');
    dies_like(sub { PVE::Storage::volume_size_info($cfg, "enc:$_") }, qr/volume 'enc:\Q$_\E' does not exist/, $_)
        for qw(vm-100-disk-8 vm-100-disk-7 vm-100-disk-9 vm-999-disk-0);
};

subtest 'status is that of the file system' => sub {
    my $info = PVE::Storage::storage_info($cfg)->{enc};
    is($info->{active}, 1);
    cmp_ok($info->{total}, '>=', $info->{avail});
    cmp_ok($info->{avail}, '>', 0);
};

subtest 'a directory is made on its node, unless the nodes share it' => sub {
    storages("luksmith: new\n\tbase-path $PATH/sub/new\n", "luksmith: nfs\n\tbase-path $PATH/nfs\n\tshared 1\n");
    my $new = config();
    PVE::Storage::activate_storage($new, 'new');
    ok(-d "$PATH/sub/new");
    is((stat("$PATH/sub/new"))[2] & oct('0777'), oct('0700'));
    dies_like(sub { PVE::Storage::activate_storage($new, 'nfs') }, qr/does not exist on this node \(mount it/, 'shared');
    ok(!-e "$PATH/nfs");
};

subtest 'QEMU opens the file' => sub {
    is_deeply($base->blockdev('vm-100-disk-0'),
        { driver => 'file', filename => "$PATH/vm-100-disk-0.luks", locking => 'on' }, 'locked, which is not the default');
    dies_like(sub { $base->blockdev('vm-100-disk-0', 'snap') }, qr/no snapshots/, 'no snapshot');
};

subtest 'no free name is one that is taken by a template' => sub {
    my $class = 'PVE::Storage::Custom::LuksmithPlugin';
    is($class->find_free_diskname('enc', $cfg->{ids}->{enc}, $_->[0], 'raw'), $_->[1], $_->[1])
        for [100, 'vm-100-disk-2'], [101, 'vm-101-disk-1'], [103, 'vm-103-disk-0'];
};

is_deeply([asked()], [], 'the engine was not asked for any of this');
done_testing();
