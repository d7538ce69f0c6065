#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# A guest starts, gets and loses disks, and stops: stand-ins of Proxmox VE's modules, real QEMU, real LUKS volumes.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use PVE::GuestHelpers;
use PVE::QemuServer;
use Test::More;

my $storecfg = Lab::storecfg();

subtest 'a disk is opened by QEMU itself, and its passphrase is gone when the guest runs' => sub {
    Lab::guest(100, scsi0 => Lab::volume('vm-100-disk-0') . ',size=4M', ide2 => 'none,media=cdrom');
    PVE::QemuServer::vm_start($storecfg, 100);

    my @asked = Lab::asked();
    is_deeply([map { $_->{script} } @asked], ['hooks/pre-start.js'], 'only the hook of pre-start ran: no export');
    like($asked[0]->{input}->{start}, qr/^$$-[0-9]+-[0-9]+$/, 'it was told the start of this process');
    is_deeply([Lab::secrets()], [],  'no host secret is left');
    is_deeply([Lab::objects(100)], [], 'no secret object is left in QEMU');
    is_deeply([Lab::exports()], [],  'nothing is exported');

    Lab::qemu_io(100, 'scsi0', $_) for 'write -P 0x5a 0 64k', 'flush';
    ok(Lab::reads('vm-100-disk-0', 0x5a, '0 64k'), 'what the guest writes is there');
    ok(!contains(Lab::path('vm-100-disk-0'), "\x5a" x 64), 'what is on the disk is encrypted');
};

subtest 'a disk is plugged and unplugged' => sub {
    my $conf  = Lab::guest(100, scsi0 => 'luks:vm-100-disk-0');
    my $drive = PVE::QemuServer::Drive::parse_drive('scsi1', Lab::volume('vm-100-disk-1'));
    PVE::QemuServer::vm_deviceplug($storecfg, $conf, 100, 'scsi1', $drive);

    is_deeply([Lab::secrets()],    [], 'no host secret is left');
    is_deeply([Lab::objects(100)], [], 'no secret object is left');
    is_deeply([Lab::exports()],    [], 'the export that activation opened is closed');
    is_deeply(operations(), [qw(open close provide)], 'in this order');
    Lab::qemu_io(100, 'scsi1', $_) for 'write -P 0x33 1M 4k', 'flush';
    ok(Lab::reads('vm-100-disk-1', 0x33, '1M 4k'), 'it holds data');
    ok(!contains(Lab::path('vm-100-disk-1'), "\x33" x 64), 'encrypted');

    PVE::QemuServer::vm_deviceunplug(100, $conf, 'scsi1');
    is(Lab::driver(100, 'drive-scsi1'), 'none', 'it is gone');
};

subtest 'the guest stops' => sub {
    PVE::QemuServer::vm_stop($storecfg, 100);
    my ($hook) = Lab::asked();
    is($hook->{script}, 'hooks/post-stop.js', 'the hook of post-stop ran');
    is_deeply($hook->{arguments}, ['proxmox', '100', 'post-stop'], 'with the phase');
};

subtest 'several guests start in one process' => sub {
    Lab::guest($_, scsi0 => Lab::volume("vm-$_-disk-0")) for 101, 102;
    PVE::QemuServer::vm_start($storecfg, $_) for 101, 102;
    my @starts = map { $_->{input}->{start} } Lab::asked();
    isnt($starts[0], $starts[1], 'each has a start of its own');
    is(Lab::driver($_, 'drive-scsi0'), 'throttle', "$_ has its disk") for 101, 102;
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    PVE::QemuServer::vm_stop($storecfg, $_) for 101, 102;
    Lab::asked();
};

subtest 'a guest that migrates in' => sub {
    Lab::guest(100, scsi0 => 'luks:vm-100-disk-0');
    PVE::QemuServer::vm_start($storecfg, 100, { statefile => 'defer', uri => "unix:$Lab::HOME/migrate" },
        { migratedfrom => 'node1' });
    my ($hook) = Lab::asked();
    is($hook->{script}, 'hooks/pre-migrate.js', 'has the hook of pre-migrate run');
    is($hook->{input}->{migratedFrom}, 'node1', 'which is told where it comes from');
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    PVE::QemuServer::vm_stop($storecfg, 100);
    Lab::asked();
};

subtest 'a template starts for a backup' => sub {
    Lab::guest(103, template => 1, scsi0 => Lab::volume('base-103-disk-0'), efidisk0 => Lab::volume('base-103-disk-1'));
    PVE::QemuServer::vm_start($storecfg, 103, { skiptemplate => 1, reload => 1 });
    is(Lab::driver(103, 'drive-efidisk0'), 'throttle', 'with its EFI disk');
    my $found = PVE::QemuServer::Monitor::mon_cmd(103, 'query-block');
    is_deeply([map { $_->{inserted}->{ro} ? 'ro' : 'rw' } $found->@*], ['ro'], 'read-only');
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    PVE::QemuServer::vm_stop($storecfg, 103);
    Lab::asked();
};

subtest 'a linked clone is opened under its own name on the base' => sub {
    Lab::volume('vm-104-disk-0');
    Lab::guest(104, virtio0 => 'luks:base-103-disk-0/vm-104-disk-0');
    PVE::QemuServer::vm_start($storecfg, 104);
    Lab::qemu_io(104, '/machine/peripheral/virtio0/virtio-backend', $_) for 'write -P 0x44 0 4k', 'flush';
    ok(Lab::reads('vm-104-disk-0', 0x44, '0 4k'), 'it can be written');
    PVE::QemuServer::vm_stop($storecfg, 104);
    Lab::asked();
};

subtest 'a machine version without -blockdev has exports' => sub {
    Lab::guest(100, machine => 'pc-q35-9.2', scsi0 => 'luks:vm-100-disk-0');
    local $PVE::QemuServer::Machine::pretended{100} = '9.2';
    PVE::QemuServer::vm_start($storecfg, 100);
    is_deeply(operations(), ['pre-start', 'open'], 'its export is opened');
    is_deeply([Lab::exports()], ['vm-100-disk-0'], 'and stays open');
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    PVE::QemuServer::vm_stop($storecfg, 100);
    is_deeply(operations(), ['close', 'post-stop'], 'until the guest stops');
};

subtest 'a guest resumes: the saved memory is given up before the start is over' => sub {
    Lab::guest(100, scsi0 => 'luks:vm-100-disk-0');
    my $state = Lab::volume('vm-100-state-suspend');
    my $original = \&PVE::GuestHelpers::exec_hookscript;
    my @left;
    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    local *PVE::GuestHelpers::exec_hookscript = sub ($conf, $vmid, $phase, @more) {
        if ($phase eq 'post-start') {
            PVE::Storage::deactivate_volumes($storecfg, [$state]);
            @left = Lab::objects(100);
        }
        return $original->($conf, $vmid, $phase, @more);
    };
    PVE::QemuServer::vm_start($storecfg, 100);
    is(scalar(@left), 1, 'its secrets are still known then');
    is_deeply([Lab::secrets(), Lab::objects(100)], [], 'and gone when it runs');

    PVE::Storage::activate_volumes($storecfg, [$state]);
    Lab::wrong('busy-at-first');
    PVE::Storage::deactivate_volumes($storecfg, [$state]);
    is_deeply([Lab::exports()], [], 'QEMU takes a moment to close what it has written');
    Lab::wrong();
    PVE::QemuServer::vm_stop($storecfg, 100);
    Lab::asked();
};

subtest 'a new cloud-init image while the guest has the old one' => sub {
    Lab::guest(100, scsi0 => 'luks:vm-100-disk-0', ide2 => Lab::volume('vm-100-cloudinit') . ',media=cdrom');
    PVE::QemuServer::vm_start($storecfg, 100);
    is(Lab::driver(100, 'drive-ide2'), 'throttle', 'it has it');
    PVE::Storage::activate_volumes($storecfg, ['luks:vm-100-cloudinit']);
    is_deeply([Lab::exports()], ['vm-100-cloudinit'], 'it is exported');
    my ($path) = PVE::Storage::path($storecfg, 'luks:vm-100-cloudinit') =~ m/^(.+)$/;
    open(my $export, '+<', $path) or die "$path: $!\n";
    print {$export} "\x66" x 65536;
    ok(close($export), 'written');
    PVE::Storage::deactivate_volumes($storecfg, ['luks:vm-100-cloudinit']);
    Lab::qemu_io(100, 'ide2', 'read -P 0x66 0 64k');
    ok(Lab::reads('vm-100-cloudinit', 0x66, '0 64k'), 'and read, encrypted as ever');

    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    my $monitor = \&PVE::QemuServer::Monitor::mon_cmd;
    local *PVE::QemuServer::Monitor::mon_cmd = sub { die "VM 100 qmp command failed - got timeout\n" };
    like(Lab::error_of(sub { PVE::Storage::activate_volumes($storecfg, ['luks:vm-100-cloudinit']) }),
        qr/cannot write 'luks:vm-100-cloudinit': the guest has it open/, 'unless nobody knows how the guest has it');
    local *PVE::QemuServer::Monitor::mon_cmd = $monitor;
    PVE::QemuServer::vm_stop($storecfg, 100);
    Lab::asked();
};

subtest 'state of a TPM' => sub {
    Lab::guest(100, scsi0 => 'luks:vm-100-disk-0', tpmstate0 => Lab::volume('vm-100-disk-2') . ',qsd=1');
    PVE::QemuServer::vm_start($storecfg, 100);
    is_deeply([Lab::secrets()], [], 'which a storage daemon has: no host secret is left');
    my $nodes = PVE::QemuServer::Monitor::qsd_cmd(100, 'query-named-block-nodes');
    ok((grep { $_->{'node-name'} eq 'drive-tpmstate0' } $nodes->@*), 'the daemon has it open');
    is_deeply([Lab::exports()], [], 'natively');
    PVE::QemuServer::vm_stop($storecfg, 100);

    Lab::guest(100, scsi0 => 'luks:vm-100-disk-0', tpmstate0 => 'luks:vm-100-disk-2');
    PVE::QemuServer::vm_start($storecfg, 100);
    is_deeply([Lab::exports()], ['vm-100-disk-2'], 'which an emulator has: it is exported');
    Lab::asked();
    my $drive = { file => 'luks:vm-100-disk-2', interface => 'tpmstate', index => 0 };
    PVE::QemuServer::Blockdev::attach($storecfg, 100, $drive, { 'tpm-backup' => 1, 'read-only' => 1 });
    is_deeply(operations(), [], 'a backup of it reads the same export');
    PVE::QemuServer::vm_stop($storecfg, 100);
    Lab::asked();
};

sub operations () {
    return [map { $_->{input}->{op} // $_->{script} =~ m{hooks/(.+)\.js} } Lab::asked()];
}

sub contains ($path, $bytes) {
    return index(Lab::read_file($path), $bytes) >= 0;
}

done_testing();
