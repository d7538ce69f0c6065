#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# Whatever fails between pre-start and post-start, no passphrase is left. Real QEMU, where it gets that far.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use PVE::GuestHelpers;
use PVE::QemuServer;
use Test::More;

my $storecfg = Lab::storecfg();
my $disk     = Lab::volume('vm-100-disk-0');
Lab::write_file("$Lab::HOME/veto.sh", "#!/bin/sh\nls $Lab::HOME/run/vm/100/*/ >$Lab::HOME/seen\nexit 1\n");
chmod(oct('0755'), "$Lab::HOME/veto.sh");

sub fails ($expected, %options) {
    my $error = Lab::error_of(sub {
        PVE::QemuServer::vm_start($storecfg, 100, $options{params} // {}, $options{migration} // {});
    });
    like($error, $expected, 'it says why');
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    is_deeply([Lab::exports()], [], 'no export is left');
    ok(!PVE::QemuServer::Helpers::vm_running_locally(100), 'the guest does not run');
    return Lab::asked();
}

subtest "the hook's veto" => sub {
    Lab::guest(100, scsi0 => $disk);
    Lab::wrong('veto');
    fails(qr/\Aerror: cannot start guest 100: disk scsi0/);
};

subtest 'the veto of the user\'s own hookscript, which runs second' => sub {
    Lab::guest(100, scsi0 => $disk, hookscript => "$Lab::HOME/veto.sh");
    Lab::wrong();
    fails(qr/\Ahookscript error for 100 on pre-start: /);
    is(Lab::read_file("$Lab::HOME/seen"), "scsi0\n", 'when it ran the passphrase was there');
};

subtest 'something that Proxmox VE does not clean up after' => sub {
    Lab::guest(100, scsi0 => $disk);
    fails(qr/\Ano such state file/,             params => { statefile       => 'lost', reload => 1 });
    fails(qr/\Atimeout waiting on systemd\n\z/, params => { 'scope-timeout' => 1,      reload => 1 });
};

subtest 'activation' => sub {
    Lab::guest(100, scsi0 => $disk, scsi1 => 'luks:vm-100-disk-9');
    fails(qr/vm-100-disk-9/);
};

subtest 'the command line, whose error is unchanged' => sub {
    Lab::guest(100, scsi0 => $disk, scsi1 => 'luks:vm-100-disk-0,format=qcow2');
    fails(qr/\Ascsi1: the volume is raw, not qcow2\n\z/);
};

subtest 'passphrases that the hook did not provide, and the bridge does not' => sub {
    Lab::guest(100, scsi0 => $disk);
    Lab::wrong('unprovided', 'provide');
    fails(qr/\Acannot provide: it was told to fail \(do not\)\n\z/);
    Lab::wrong();
};

subtest 'QEMU itself' => sub {
    Lab::guest(100, scsi0 => $disk, args => '-device no-such-device');
    fails(qr/\Astart failed: QEMU exited with code 1\n\z/);
};

subtest 'QEMU with a wrong passphrase' => sub {
    rename(Lab::path('vm-100-disk-0'), Lab::path('vm-100-disk-1'));
    Lab::guest(100, scsi0 => 'luks:vm-100-disk-1');
    fails(qr/\Astart failed: QEMU exited with code 1\n\z/);
    rename(Lab::path('vm-100-disk-1'), Lab::path('vm-100-disk-0'));
};

subtest 'QEMU that runs, and cannot migrate in' => sub {
    Lab::guest(100, scsi0 => $disk);
    my $error = Lab::error_of(sub {
        PVE::QemuServer::vm_start($storecfg, 100, { statefile => 'defer', uri => 'nonsense', reload => 1 });
    });
    like($error, qr/migrate-incoming/, 'it says why');
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    PVE::QemuServer::vm_stop($storecfg, 100);
    Lab::asked();
};

subtest 'an engine that is not there' => sub {
    Lab::guest(100, ide2 => 'none,media=cdrom');
    local $PVE::Luksmith::Paths::NODE = "$Lab::HOME/no-node";
    fails(qr/\Aerror: cannot start VM 100: .+; cause: .+Node\.js/);
};

subtest 'a hook that ends well without having done its work' => sub {
    Lab::guest(100, ide2 => 'none,media=cdrom');
    Lab::wrong('undone');
    fails(qr/did not do its work/);
    Lab::wrong();
};

subtest 'afterwards it starts' => sub {
    Lab::guest(100, scsi0 => $disk);
    PVE::QemuServer::vm_start($storecfg, 100);
    is(Lab::driver(100, 'drive-scsi0'), 'throttle', 'with its disk');
    PVE::QemuServer::vm_stop($storecfg, 100);
};

done_testing();
