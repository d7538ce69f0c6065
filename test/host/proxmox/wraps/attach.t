#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# Disks that a running QEMU or storage daemon gets: real ones, with real volumes.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use PVE::GuestHelpers;
use PVE::QemuServer;
use Test::More;

my $storecfg = Lab::storecfg();
Lab::volume("vm-100-disk-$_") for 0 .. 3;
Lab::guest(100, scsi0 => 'luks:vm-100-disk-0');
PVE::QemuServer::vm_start($storecfg, 100);
Lab::asked();

sub attach ($file, %options) {
    my $drive = { file => $file, interface => 'scsi', index => 7 };
    return PVE::QemuServer::Blockdev::attach($storecfg, 100, $drive, {%options});
}

sub detach ($node) { return PVE::QemuServer::Blockdev::detach(PVE::QemuServer::Monitor::vm_qmp_peer(100), $node) }

sub operations () { return [map { $_->{input}->{op} } Lab::asked()] }

sub nothing_left ($what) {
    is_deeply([Lab::secrets()],    [], "$what: no host secret is left");
    is_deeply([Lab::objects(100)], [], "$what: no secret object is left");
    return;
}

subtest 'a target of a mirror, and a fleecing image with its size' => sub {
    my ($node, $read_only) = attach('luks:vm-100-disk-1', 'no-throttle' => 1);
    like($node, qr/^f[0-9a-f]{30}$/, 'both results come through');
    ok(!$read_only, 'it can be written');
    is_deeply(operations(), ['provide'], 'one passphrase was provided');
    nothing_left('mirror');
    detach($node);

    my $fleecing = attach('luks:vm-100-disk-1', fleecing => 1, size => 1 << 20);
    ok(ref($fleecing), 'in scalar context it is the last one, as from the original');
    is(Lab::driver(100, 'drive-scsi7-fleecing'), 'raw', 'the image is there');
    nothing_left('fleecing');
    detach('drive-scsi7-fleecing');
    Lab::asked();
};

subtest 'a disk is read as its drive says' => sub {
    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    my $original = \&PVE::QemuServer::Blockdev::qmp_cmd;
    my $node;
    local *PVE::QemuServer::Blockdev::qmp_cmd = sub ($peer, $command, @more) {
        $node = {@more} if $command eq 'blockdev-add';
        return $original->($peer, $command, @more);
    };
    my $drive = { file => 'luks:vm-100-disk-1', interface => 'scsi', index => 7, aio => 'threads' };
    PVE::QemuServer::Blockdev::attach($storecfg, 100, $drive, {});
    my $encrypted = $node->{file}->{file};
    is($encrypted->{driver}, 'luks', 'natively');
    is($encrypted->{file}->{aio}, 'threads', 'by threads');
    is($encrypted->{file}->{locking}, 'on', 'with a lock');
    detach('drive-scsi7');
    Lab::asked();
};

subtest 'an export that is open' => sub {
    PVE::Storage::activate_volumes($storecfg, ['luks:vm-100-disk-1']);
    is_deeply([Lab::exports()], ['vm-100-disk-1'], 'is there');
    Lab::wrong('busy');
    is(Lab::error_of(sub { attach('luks:vm-100-disk-1') }), "cannot close vm-100-disk-1: it is in use\n", 'if it is busy it stays');
    is(Lab::driver(100, 'drive-scsi7'), 'none', 'and nothing is attached');
    nothing_left('busy');
    Lab::wrong();
    attach('luks:vm-100-disk-1');
    is_deeply([Lab::exports()], [], 'if it is idle it is closed first');
    detach('drive-scsi7');
    Lab::asked();
};

subtest 'what an attachment that was killed left behind' => sub {
    my $object = PVE::Luksmith::Names::secret_id('luks:vm-100-disk-1');
    PVE::QemuServer::Monitor::mon_cmd(100, 'object-add', 'qom-type' => 'secret', id => $object, data => 'old');
    attach('luks:vm-100-disk-1');
    is(Lab::driver(100, 'drive-scsi7'), 'throttle', 'is replaced');
    nothing_left('killed');
    detach('drive-scsi7');
    Lab::asked();
};

subtest 'an attachment that fails' => sub {
    Lab::volume('vm-100-disk-4');
    rename(Lab::path('vm-100-disk-4'), Lab::path('vm-100-disk-5'));
    my $error = Lab::error_of(sub { attach('luks:vm-100-disk-5') });
    like($error, qr/\Aadding blockdev 'drive-scsi7' failed : [^\n]+\n\n\z/, 'with the same error');
    nothing_left('failed');
    Lab::wrong('provide');
    like(Lab::error_of(sub { attach('luks:vm-100-disk-1') }), qr/\Acannot provide: /, 'no passphrase, no disk');
    nothing_left('no passphrase');
    Lab::wrong();
    is(Lab::driver(100, 'drive-scsi7'), 'none', 'nothing is attached');
    Lab::asked();
};

subtest 'state of a TPM, which its emulator has open as a file' => sub {
    my $drive   = { file => 'luks:vm-100-disk-3', interface => 'tpmstate', index => 0 };
    my ($node)  = PVE::QemuServer::Blockdev::attach($storecfg, 100, $drive, { 'tpm-backup' => 1, 'read-only' => 1 });
    is_deeply(operations(), ['open'], 'is read from its export');
    nothing_left('TPM');
    detach($node);
    PVE::Storage::deactivate_volumes($storecfg, ['luks:vm-100-disk-3']);
    Lab::asked();
};

subtest 'an attachment whose task is stopped while it clears up' => sub {
    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    my $original = \&PVE::QemuServer::Monitor::qmp_cmd;
    my $deleted  = 0;
    local *PVE::QemuServer::Monitor::qmp_cmd = sub ($peer, $command, @more) {
        die "received interrupt\n" if $command eq 'object-del' && "@more" =~ m/luksmith-/ && $deleted++;
        return $original->($peer, $command, @more);
    };
    is(Lab::error_of(sub { attach('luks:vm-100-disk-1') }), "received interrupt\n", 'ends');
    is_deeply([Lab::secrets()], [], 'and leaves no host secret');
    $original->(PVE::QemuServer::Monitor::vm_qmp_peer(100), 'object-del',
        id => PVE::Luksmith::Names::secret_id('luks:vm-100-disk-1'));
    detach('drive-scsi7');
    Lab::asked();
};

subtest 'what is none of ours' => sub {
    Lab::write_file("$Lab::HOME/plain.raw", 'x' x 65536);
    attach("$Lab::HOME/plain.raw");
    detach('drive-scsi7');
    my $error = Lab::error_of(sub { attach("nbd:unix:$Lab::HOME/nothing:exportname=x", 'no-throttle' => 1) });
    like($error, qr/nothing/, 'an address of NBD is no volume ID');
    is_deeply(operations(), ['allow'], 'needs no passphrase, and the address nothing at all');
};

subtest 'a plain disk for a guest that runs' => sub {
    Lab::asked();
    attach("$Lab::HOME/plain.raw");
    detach('drive-scsi7');
    my ($asked) = map { $_->{input} } Lab::asked();
    is($asked->{config}->{scsi7}, "file=$Lab::HOME/plain.raw", 'is asked for with the configuration that it would have');
    is($asked->{disk}, "$Lab::HOME/plain.raw");
    Lab::wrong('allow');
    like(Lab::error_of(sub { attach("$Lab::HOME/plain.raw") }), qr/cannot allow/, 'and refused');
    Lab::wrong();
    is(Lab::driver(100, 'drive-scsi7'), 'none', 'then QEMU does not get it');
    Lab::asked();
};

subtest 'a storage daemon with a name of its own' => sub {
    PVE::QemuServer::QSD::start('vm-100-efi-enroll');
    my $drive = { file => 'luks:vm-100-disk-2', interface => 'efidisk', index => 0 };
    PVE::QemuServer::QSD::add_fuse_export('vm-100-efi-enroll', $drive, 'efidisk0-enroll');
    my @asked = Lab::asked();
    is($asked[-1]->{input}->{vmid}, 100, 'belongs to the guest of the volume');
    is_deeply([Lab::secrets()], [], 'no host secret is left');
    PVE::QemuServer::QSD::quit('vm-100-efi-enroll');
};

subtest 'whether the guest has a volume open' => sub {
    my $base = PVE::Luksmith::Base::of($storecfg->{ids}->{luks}, 'luks');
    ok(PVE::Luksmith::Wraps::in_use_natively(100, $base, 'vm-100-disk-0'), 'it has');
    ok(!PVE::Luksmith::Wraps::in_use_natively(100, $base, 'vm-100-disk-1'), 'it has not');
    ok(!PVE::Luksmith::Wraps::in_use_natively(199, $base, 'vm-199-disk-0'), 'it does not run');
    PVE::Storage::activate_volumes($storecfg, ['luks:vm-100-disk-0']);
    is_deeply([Lab::exports()], [], 'then it is not exported');

    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    local *PVE::QemuServer::Monitor::mon_cmd = sub { die "'storage-luks'-locked command timed out - aborting\n" };
    like(Lab::error_of(sub { PVE::Luksmith::Wraps::in_use_natively(100, $base, 'vm-100-disk-1') }), qr/timed out - aborting/,
        'the end of a lock is no answer');
    local *PVE::QemuServer::Monitor::mon_cmd = sub { die "VM 100 qmp command failed - got timeout\n" };
    ok(PVE::Luksmith::Wraps::in_use_natively(100, $base, 'vm-100-disk-0'), 'found without QMP');
    ok(!PVE::Luksmith::Wraps::in_use_natively(100, $base, 'vm-100-disk-1'), 'not found without QMP');
    my $rbd = PVE::Luksmith::Base::of({ 'base-pool' => 'pool' }, 'ceph');
    ok(PVE::Luksmith::Wraps::in_use_natively(100, $rbd, 'vm-100-disk-1'), 'what cannot be found out counts as open');
};

subtest 'how QEMU names an image in Ceph' => sub {
    my $node  = { driver => 'rbd', pool => 'p', image => 'vm-100-disk-0', user => 'admin' };
    my $found = sub (%more) {
        return { drv => 'rbd', file => 'json:' . JSON::encode_json({ driver => 'rbd', pool => 'p', %more }) };
    };
    ok(PVE::Luksmith::InUse::is_of($found->(image => 'vm-100-disk-0'), $node), 'the image');
    ok(!PVE::Luksmith::InUse::is_of($found->(image => 'vm-100-disk-1'), $node), 'another image');
    ok(!PVE::Luksmith::InUse::is_of($found->(image => 'vm-100-disk-0', namespace => 'n'), $node), 'another namespace');
    ok(!PVE::Luksmith::InUse::is_of($found->(image => 'vm-100-disk-0', snapshot => 's'), $node), 'a snapshot of it');
};

PVE::QemuServer::vm_stop($storecfg, 100);
done_testing();
