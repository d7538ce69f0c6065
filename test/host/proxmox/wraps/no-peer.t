#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# Proxmox VE 9 with a qemu-server before 9.1.9, which lacks one of the functions that the wraps call.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use Test::More;

require PVE::GuestHelpers;
require PVE::QemuServer;
undef(&PVE::QemuServer::Monitor::qsd_qmp_peer);

my $storecfg = Lab::storecfg();
my $disk     = Lab::volume('vm-100-disk-0');
ok(!PVE::Luksmith::Wraps::is_native(), 'nothing is native');

Lab::guest(100, scsi0 => $disk);
my @warnings = Lab::warnings_of(sub {
    for (1, 2) {
        PVE::QemuServer::vm_start($storecfg, 100);
        is_deeply([Lab::exports()], ['vm-100-disk-0'], 'a guest starts with an export');
        PVE::QemuServer::vm_stop($storecfg, 100);
    }
});
is(scalar(@warnings), 1, 'which is told once');
like($warnings[0], qr/no PVE::QemuServer::Monitor::qsd_qmp_peer: .* slower, until it is 9\.1\.9/, 'with what would help');

Lab::guest(101, ide2 => 'none,media=cdrom');
is_deeply([Lab::warnings_of(sub { PVE::QemuServer::vm_start($storecfg, 101) })], [], 'and only about guests of ours');
PVE::QemuServer::vm_stop($storecfg, 101);

done_testing();
