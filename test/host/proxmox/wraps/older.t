#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# Proxmox VE 8: no hints, no nodes from storage plugins, no Blockdev::attach. Everything goes through exports.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use Test::More;

no warnings 'once';    ## no critic (ProhibitNoWarnings)

BEGIN { $ENV{PVE_STAND_IN_APIVER} = 11 }    ## no critic (RequireLocalizedPunctuationVars)

require PVE::GuestHelpers;
require PVE::QemuServer;
undef(&PVE::QemuServer::Blockdev::attach);
undef(&PVE::Storage::qemu_blockdev_options);
local $PVE::QemuServer::Machine::pretended{100} = '9.2';

my $storecfg = Lab::storecfg();
my $disk     = Lab::volume('vm-100-disk-0');

ok(!PVE::Luksmith::Wraps::is_native(), 'nothing is native');
is_deeply([sort keys %PVE::Luksmith::Wraps::wrapped],
    ['PVE::GuestHelpers::exec_hookscript', 'PVE::QemuServer::config_to_command', 'PVE::Storage::config'],
    'what decides about a start is there');

Lab::guest(100, machine => 'pc-q35-9.2', scsi0 => $disk);
is_deeply([Lab::warnings_of(sub { PVE::QemuServer::vm_start($storecfg, 100) })], [], 'that it is older is no news');
is_deeply([map { $_->{input}->{op} // 'hook' } Lab::asked()], ['hook', 'open'], 'a guest starts with an export');
is_deeply([Lab::secrets()], [], 'and what the hook provided is withdrawn');
Lab::qemu_io(100, 'scsi0', $_) for 'write -P 0x5a 0 64k', 'flush';
PVE::QemuServer::vm_stop($storecfg, 100);
is_deeply([Lab::exports()], [], 'which is closed when it stops');
ok(Lab::reads('vm-100-disk-0', 0x5a, '0 64k'), 'what it wrote is there, encrypted');

Lab::wrong('veto');
like(Lab::error_of(sub { PVE::QemuServer::vm_start($storecfg, 100) }), qr/needs a key/, 'a veto is one');

done_testing();
