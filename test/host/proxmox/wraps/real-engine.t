#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# The whole way with the engine itself: a disk is made, a guest starts with it, writes, gets another one, stops, starts
# again. Runs on a node of its own (perl/namespace.sh).

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use PVE::GuestHelpers;
use PVE::QemuServer;
use Test::More;

BAIL_OUT('this writes to /etc/pve and /run: run it by namespace.sh')
    if Lab::read_file('/proc/self/mountinfo') !~ m{ /etc/pve .* - tmpfs } || glob('/etc/pve/*');

Lab::real_engine();
my $storecfg = Lab::storecfg();

sub left () {
    return glob('/run/luksmith/vm/*'), glob('/run/luksmith/export/*/*');
}

sub written ($name, $byte) { return index(Lab::read_file(Lab::path($name)), chr($byte) x 64) >= 0 }

my $disk = PVE::Storage::vdisk_alloc($storecfg, 'luks', 100, 'raw', undef, 8 << 10);
my $more = PVE::Storage::vdisk_alloc($storecfg, 'luks', 100, 'raw', undef, 8 << 10);
is("$disk $more", 'luks:vm-100-disk-0 luks:vm-100-disk-1', 'two disks are made');

subtest 'a guest starts with an encrypted disk' => sub {
    Lab::configure(100, scsi0 => "$disk,size=8M", memory => 32);
    PVE::QemuServer::vm_start($storecfg, 100);
    is(Lab::driver(100, 'drive-scsi0'), 'throttle', 'it has it');
    is_deeply([left()],            [], 'no host secret and no export is left');
    is_deeply([Lab::objects(100)], [], 'and no secret object');
    Lab::qemu_io(100, 'scsi0', $_) for 'write -P 0x5a 0 64k', 'read -P 0x5a 0 64k', 'flush';
    ok(!written('vm-100-disk-0', 0x5a), 'what it writes is encrypted on the disk');
};

subtest 'gets a second one' => sub {
    my $drive = PVE::QemuServer::Drive::parse_drive('scsi1', $more);
    PVE::QemuServer::vm_deviceplug($storecfg, {}, 100, 'scsi1', $drive);
    is_deeply([left()],            [], 'no host secret and no export is left');
    is_deeply([Lab::objects(100)], [], 'and no secret object');
    Lab::qemu_io(100, 'scsi1', $_) for 'write -P 0x33 0 64k', 'flush';
    ok(!written('vm-100-disk-1', 0x33), 'encrypted as well');
    PVE::QemuServer::vm_deviceunplug(100, {}, 'scsi1');
    is(Lab::driver(100, 'drive-scsi1'), 'none', 'and loses it');
};

subtest 'gets a new cloud-init image while it has the old one' => sub {
    my $image = PVE::Storage::vdisk_alloc($storecfg, 'luks', 100, 'raw', 'vm-100-cloudinit', 4 << 10);
    my $drive = PVE::QemuServer::Drive::parse_drive('scsi2', "$image,media=cdrom");
    PVE::QemuServer::vm_deviceplug($storecfg, {}, 100, 'scsi2', $drive);
    PVE::Storage::activate_volumes($storecfg, [$image]);
    my ($path) = PVE::Storage::path($storecfg, $image) =~ m/^(.+)$/;
    open(my $export, '+<', $path) or die "$path: $!\n";
    print {$export} "\x66" x 65536;
    ok(close($export), 'written');
    PVE::Storage::deactivate_volumes($storecfg, [$image]);
    Lab::qemu_io(100, 'scsi2', 'read -P 0x66 0 64k');
    ok(!written('vm-100-cloudinit', 0x66), 'encrypted');
    is_deeply([left()], [], 'no host secret and no export is left');
    PVE::QemuServer::vm_deviceunplug(100, {}, 'scsi2');
};

subtest 'stops, and its data can be read' => sub {
    PVE::QemuServer::vm_stop($storecfg, 100);
    is_deeply([left()], [], 'nothing is left');
    my $path = PVE::Storage::map_volume($storecfg, $disk);
    is(substr(Lab::read_file($path), 0, 65536), "\x5a" x 65536, 'what it wrote');
    PVE::Storage::unmap_volume($storecfg, $disk);
};

subtest 'fails to start' => sub {
    Lab::configure(100, scsi0 => $disk, args => '-device no-such-device');
    like(Lab::error_of(sub { PVE::QemuServer::vm_start($storecfg, 100) }), qr/start failed/, 'it says so');
    is_deeply([left()], [], 'and nothing is left');
};

subtest 'a key that no keystore has' => sub {
    Lab::volume('vm-100-disk-7');
    Lab::configure(100, scsi0 => 'luks:vm-100-disk-7');
    like(Lab::error_of(sub { PVE::QemuServer::vm_start($storecfg, 100) }), qr/^error: .+$/m, 'is a veto');
    is_deeply([left()], [], 'and nothing is left');
};

done_testing();
