#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# A directory, the engine, qemu-storage-daemon and FUSE for real: what Proxmox VE does with a disk while no guest runs.
# Runs on a node of its own (namespace.sh).
use v5.36;
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $MIB    = 1024 * 1024;
my $PATH   = root() . '/srv/enc';
my $EXPORT = '/run/luksmith/export/enc';

BAIL_OUT('this writes to /etc/pve and /run: run it by namespace.sh')
    if content('/proc/self/mountinfo', 0, 65_536) !~ m{ /etc/pve .* - tmpfs } || glob('/etc/pve/*');

real_engine();
mkdir(root() . '/srv');
mkdir($PATH, oct('0700'));
storages("luksmith: enc\n\tbase-path $PATH\n");
spit('/etc/pve/storage.cfg', "luksmith: enc\n\tbase-path $PATH\n");
my $cfg = config();

sub content ($path, $offset, $length) {
    open(my $fh, '<:raw', $path) or die "$path: $!\n";
    seek($fh, $offset, 0);
    read($fh, my $bytes, $length);
    return $bytes;
}

sub overwrite ($path, $offset, $bytes) {
    open(my $fh, '+<:raw', $path) or die "$path: $!\n";
    seek($fh, $offset, 0);
    print {$fh} $bytes;
    close($fh) or die "$path: $!\n";
    return;
}

my $volid;

subtest 'a disk is made, and is what it should be' => sub {
    $volid = PVE::Storage::vdisk_alloc($cfg, 'enc', 100, 'raw', undef, 8 * 1024);
    is($volid, 'enc:vm-100-disk-0');
    my $file = "$PATH/vm-100-disk-0.luks";
    is(content($file, 0, 6), "LUKS\xba\xbe", 'a LUKS volume');
    is((stat($file))[2] & oct('0777'), oct('0600'), 'for root alone');
    is(scalar(PVE::Storage::volume_size_info($cfg, $volid)), 8 * $MIB, 'size');
    my $list = PVE::Storage::vdisk_list($cfg, 'enc')->{enc};
    is_deeply([map { [$_->@{qw(volid size vmid)}] } $list->@*], [[$volid, 8 * $MIB, 100]], 'listed');
    ok(!-e "$EXPORT/vm-100-disk-0.img", 'not open');
};

subtest 'what is written to its path is encrypted on the disk' => sub {
    PVE::Storage::activate_volumes($cfg, [$volid]);
    my $path = PVE::Storage::path($cfg, $volid);
    ok(PVE::Luksmith::Export::is_open('enc', 'vm-100-disk-0'), 'exported');
    my $daemon = content("$EXPORT/vm-100-disk-0.pid", 0, 20);
    spit("$EXPORT/vm-100-disk-0.pid", "$$\n");
    ok(!PVE::Luksmith::Export::is_open('enc', 'vm-100-disk-0'), 'not by a process that is no storage daemon');
    spit("$EXPORT/vm-100-disk-0.pid", $daemon);
    is(-s $path, 8 * $MIB, 'with the size that the guest sees');
    overwrite($path, 4 * $MIB, 'plaintext' x 1000);
    is(content($path, 4 * $MIB, 9), 'plaintext', 'read back');

    PVE::Storage::deactivate_volumes($cfg, [$volid]);
    ok(!PVE::Luksmith::Export::is_open('enc', 'vm-100-disk-0'), 'closed');
    ok(!PVE::Luksmith::Export::is_left('enc', 'vm-100-disk-0'), 'nothing is left');
    unlike(content("$PATH/vm-100-disk-0.luks", 0, 16 * $MIB), qr/plaintext/, 'ciphertext');
    is(PVE::Storage::map_volume($cfg, $volid), $path, 'mapped');
    is(content($path, 4 * $MIB, 9), 'plaintext', 'and read again');
    PVE::Storage::unmap_volume($cfg, $volid);
};

subtest 'it grows' => sub {
    PVE::Storage::volume_resize($cfg, $volid, 16 * $MIB, 0);
    is(scalar(PVE::Storage::volume_size_info($cfg, $volid)), 16 * $MIB, 'closed');
    PVE::Storage::activate_volumes($cfg, [$volid]);
    PVE::Storage::volume_resize($cfg, $volid, 24 * $MIB, 0);
    is(scalar(PVE::Storage::volume_size_info($cfg, $volid)), 24 * $MIB, 'open');
    is(content(scalar(PVE::Storage::path($cfg, $volid)), 4 * $MIB, 9), 'plaintext', 'with its data');
    PVE::Storage::deactivate_volumes($cfg, [$volid]);
};

subtest 'it moves to another node, under another key' => sub {
    PVE::Storage::activate_volumes($cfg, [$volid]);
    open(my $out, '>', root() . '/stream') or die;
    PVE::Storage::volume_export($cfg, $out, $volid, 'raw+size');
    close($out);
    PVE::Storage::deactivate_volumes($cfg, [$volid]);
    open(my $in, '<', root() . '/stream') or die;
    my $copy = PVE::Storage::volume_import($cfg, $in, $volid, 'raw+size', undef, undef, 0, 1);
    is($copy, 'enc:vm-100-disk-1');
    my $path = PVE::Storage::map_volume($cfg, $copy);
    ok(content($path, 0, 24 * $MIB) eq substr(content(root() . '/stream', 0, 25 * $MIB), 8), 'the same data');
    isnt(content("$PATH/vm-100-disk-1.luks", 168, 36), content("$PATH/vm-100-disk-0.luks", 168, 36), 'another UUID');
    PVE::Storage::vdisk_free($cfg, $copy);
    ok(!-e "$PATH/vm-100-disk-1.luks", 'freed while it was open');
};

subtest 'a template is read-only' => sub {
    my $base = PVE::Storage::vdisk_create_base($cfg, $volid);
    is($base, 'enc:base-100-disk-0');
    my $path = PVE::Storage::map_volume($cfg, $base);
    is(content($path, 4 * $MIB, 9), 'plaintext', 'its key opens it');
    dies_like(sub { overwrite($path, 0, 'x') }, qr/./, 'not to be written');
    PVE::Storage::unmap_volume($cfg, $base);
    PVE::Storage::vdisk_free($cfg, $base);
    is_deeply(PVE::Storage::vdisk_list($cfg, 'enc')->{enc}, [], 'nothing is left');
};

subtest 'the engine explains what it refuses' => sub {
    luks_file("$PATH/vm-300-disk-0.luks", $MIB);
    dies_like(sub { PVE::Storage::map_volume($cfg, 'enc:vm-300-disk-0') }, qr/\A[a-z].*: .*key/, 'a key that is not ours');
    ok(!PVE::Luksmith::Export::is_left('enc', 'vm-300-disk-0'), 'nothing is left');
};

done_testing();
