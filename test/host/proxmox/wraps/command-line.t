#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# The command line of a guest: what it gets, and what is done when it is not what it was.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use PVE::GuestHelpers;
use PVE::QemuServer;
use Test::More;

my $storecfg = Lab::storecfg();
PVE::Luksmith::Wraps::install_late();
my $volid = Lab::volume('vm-100-disk-0');
my $id    = PVE::Luksmith::Names::secret_id($volid);

sub build ($conf, $options = {}) {
    my @result = PVE::QemuServer::config_to_command($storecfg, 100, $conf, {}, $options);
    return @result;
}

sub secrets_of ($command) { return grep { m/^secret,/ } $command->@* }

subtest 'shown, it has its secrets by name, and nothing is provided' => sub {
    Lab::guest(100, scsi0 => "$volid,size=4M", ide2 => 'none,media=cdrom');
    my $text = PVE::QemuServer::vm_commandline($storecfg, 100);
    my $secret = "-object secret,id=$id,file=$Lab::HOME/run/vm/100/START/scsi0";
    like($text, qr/\Q$secret\E(?: |\z)/, 'the secret');
    my $command = PVE::QemuServer::config_to_command($storecfg, 100, { scsi0 => $volid }, {}, {});
    is(scalar(secrets_of($command)), 1, 'also to those that ask for nothing but the command');
    build({ scsi0 => $volid }, { 'dry-run' => 1 });
    is_deeply([map { $_->{input}->{op} } Lab::asked()], ['open', 'close'], 'what Proxmox VE activated is closed again');
    is_deeply([Lab::secrets(), Lab::exports()], [], 'and nothing is provided');

    PVE::Storage::activate_volumes($storecfg, [$volid]);
    Lab::wrong('busy');
    PVE::QemuServer::vm_commandline($storecfg, 100);
    is_deeply([Lab::exports()], ['vm-100-disk-0'], 'what somebody uses stays');
    Lab::wrong();
    PVE::Storage::deactivate_volumes($storecfg, [$volid]);
    Lab::asked();
};

subtest 'started by something that ran no hook' => sub {
    my $conf = { scsi0 => $volid, virtio3 => Lab::volume('vm-100-disk-1') };
    my ($command, $devices, $used);
    my @warnings = Lab::warnings_of(sub { ($command, undef, $devices, $used) = build($conf) for 1, 2 });
    is_deeply([map { $_->{script} } Lab::asked()], ['hooks/pre-start.js'], 'the hook is asked all the same');
    is(scalar(@warnings), 1, 'which is told once');
    like($warnings[0], qr/did not announce the start of VM 100/, 'as it is');
    is(scalar(secrets_of($command)), 2, 'each has its secret');
    ok(-s $_, 'that is there') for map { m/file=(.+)$/ } secrets_of($command);
    is_deeply($devices, {}, 'all results come through');
    is($used, $conf, 'unchanged');
    PVE::Luksmith::Starts::withdraw_failed(100);
};

subtest 'started by something that ran no hook, and must not be' => sub {
    Lab::wrong('veto');
    like(Lab::error_of(sub { build({ scsi0 => $volid }) }), qr/^error: cannot start guest 100/, 'is not');
    Lab::wrong();
    is_deeply([Lab::secrets()], [], 'and has no passphrase');
    Lab::asked();
};

subtest 'drives say how they are read' => sub {
    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    local *PVE::Luksmith::Aio::kernel_has_io_uring = sub { return 1 };
    my ($command) = build({ scsi0 => "$volid,aio=threads", virtio3 => 'luks:vm-100-disk-1' });
    my %aio = map { $_->{'node-name'} => $_->{file}->{file}->{file}->{aio} } map { JSON::decode_json($_) }
        grep { m/"driver":"luks"/ } $command->@*;
    is_deeply(\%aio, { 'drive-scsi0' => 'threads', 'drive-virtio3' => 'io_uring' }, 'or have what Proxmox VE would choose');
    PVE::Luksmith::Starts::withdraw_failed(100);
    Lab::asked();
};

subtest 'a volume that two drives have, and drives that are none of ours' => sub {
    Lab::write_file("$Lab::HOME/plain.raw", 'x' x 65536);
    my ($command) = build({
        scsi0 => "file=$volid,size=4M", scsi1 => "$volid,ro=1", scsi2 => "$Lab::HOME/plain.raw", ide2 => 'none',
        scsi3 => "nbd:unix:$Lab::HOME/x:exportname=y",
    });
    is_deeply([map { m/([^\/]+)$/ } secrets_of($command)], ['scsi0'], 'one secret');
    PVE::Luksmith::Starts::withdraw_failed(100);
    Lab::asked();
};

subtest 'a cloud-init drive' => sub {
    my $cloudinit = Lab::volume('vm-100-cloudinit');
    my $conf      = { ide2 => "$cloudinit,media=cdrom", scsi0 => $volid };
    PVE::GuestHelpers::exec_hookscript($conf, 100, 'pre-start', 1);
    my ($command) = build($conf);
    my ($hook, $bridge) = Lab::asked();
    is_deeply([map { $_->{file} } $bridge->{input}->{volumes}->@*], ['ide2'], 'what the hook left out is asked for');
    is($bridge->{input}->{start}, $hook->{input}->{start}, 'for the same start');
    is(scalar(secrets_of($command)), 2, 'both have their secrets');
    PVE::Luksmith::Starts::withdraw_failed(100);
};

subtest 'RAM that was saved' => sub {
    my $state = Lab::volume('vm-100-state-suspend');
    my ($command) = build({ vmstate => $state, scsi0 => $volid });
    is_deeply([Lab::exports()], ['vm-100-state-suspend'], 'is exported');
    is(scalar(secrets_of($command)), 1, 'and has no secret');
    PVE::Storage::deactivate_volumes($storecfg, [$state]);
    Lab::asked();
};

subtest 'one that cannot be built' => sub {
    my $conf = { scsi0 => $volid, scsi1 => "$volid,format=qcow2" };
    PVE::GuestHelpers::exec_hookscript($conf, 100, 'pre-start', 1);
    isnt(scalar(Lab::secrets()), 0, 'has its secrets');
    like(Lab::error_of(sub { build($conf) }), qr/\Ascsi1: /, 'until it dies');
    is_deeply([Lab::secrets()], [], 'and not longer');
    Lab::asked();
};

# Last: they change the process.
sub in_process ($code) {
    my $pid = fork() // die "fork: $!\n";
    if (!$pid) {
        my $ok = eval { $code->(); 1 };
        diag($@) if !$ok;
        POSIX::_exit($ok && Test::More->builder->is_passing ? 0 : 1);
    }
    waitpid($pid, 0);
    return $? == 0;
}

ok(in_process(sub {
    my $original = $PVE::Luksmith::Wraps::wrapped{'PVE::QemuServer::config_to_command'}->{original};
    my @results  = ('no command', undef, {}, {});
    my $called   = 0;
    my @warnings = Lab::warnings_of(sub {
        for (1, 2) {
            my @shape = PVE::Luksmith::CommandLine::config_to_command(
                sub { $called++; return PVE::Luksmith::Wraps::native_context() ? @results : $original->(@_) },
                $storecfg, 100, { machine => 'pc-q35-9.0', scsi0 => $volid }, {}, {});
        }
    });
    die "called $called times\n"                           if $called != 3;
    die 'warned: ' . join('', @warnings)                   if @warnings != 1 || $warnings[0] !~ m/returns something else/;
    die "native\n"                                         if PVE::Luksmith::Wraps::is_native();
    die "exports: " . join(' ', Lab::exports()) . "\n"     if join(' ', Lab::exports()) ne 'vm-100-disk-0';
    die "secrets\n"                                        if Lab::secrets();
}), 'a result of another shape: exports, with one warning');
PVE::Storage::deactivate_volumes($storecfg, [$volid]);

ok(in_process(sub {
    my $seen;
    my @warnings = Lab::warnings_of(sub {
        PVE::Luksmith::Attach::attach(sub { $seen = [@_] }, { storecfg => $storecfg, id => 100 });
    });
    die "not passed on\n"                if $seen->[0]->{id} != 100;
    die 'warned: ' . join('', @warnings) if @warnings != 1 || $warnings[0] !~ m/attach is called with other arguments/;
    die "native\n"                       if PVE::Luksmith::Wraps::is_native();

    my $node = PVE::Storage::qemu_blockdev_options($storecfg, $volid, '10.0', {});
    die "a node that needs a secret\n" if $node->{driver} ne 'file';
}), 'arguments of another shape: the original, with one warning');

ok(in_process(sub {
    my $error;
    Lab::warnings_of(sub {
        $error = Lab::error_of(sub { my @result = PVE::QemuServer::config_to_command($storecfg, undef, {}, {}, {}) });
    });
    die "no error\n" if ($error // '') !~ m/cannot find out which guest starts/;
}), 'a guest that nobody knows does not start');

ok(in_process(sub {
    Lab::guest(100, scsi0 => $volid);
    Lab::warnings_of(sub { PVE::Luksmith::Wraps::give_up('a test') });
    PVE::QemuServer::vm_start($storecfg, 100);
    die "not exported\n"     if join(' ', Lab::exports()) ne 'vm-100-disk-0';
    die "secrets\n"          if Lab::secrets();
    my $drive = PVE::QemuServer::Drive::parse_drive('scsi1', 'luks:vm-100-disk-1');
    PVE::QemuServer::vm_deviceplug($storecfg, {}, 100, 'scsi1', $drive);
    die "not exported\n" if join(' ', Lab::exports()) ne 'vm-100-disk-0 vm-100-disk-1';
    Lab::qemu_io(100, 'scsi1', $_) for 'write -P 0x77 0 4k', 'flush';
    PVE::QemuServer::vm_stop($storecfg, 100);
    PVE::Storage::deactivate_volumes($storecfg, ['luks:vm-100-disk-1']);
}), 'without native opening a guest starts and gets disks by exports');
ok(Lab::reads('vm-100-disk-1', 0x77, '0 4k'), 'and what it writes is encrypted as ever');

done_testing();
