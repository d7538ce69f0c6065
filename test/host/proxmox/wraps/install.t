#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# When the wraps are put in place, and when they step back.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use Test::More;

no warnings 'once';    ## no critic (ProhibitNoWarnings)

# Loaded as by `qm`: PVE::GuestHelpers loads PVE::Storage, and so the plugin, before it has its own functions.
require PVE::GuestHelpers;

my $config = \&PVE::Storage::config;
my $hooks  = \&PVE::GuestHelpers::exec_hookscript;
is_deeply([wrapped()], ['PVE::Storage::config'], 'nothing could be wrapped yet but what every start calls');
ok(!PVE::Luksmith::Wraps::is_native(), 'without QEMU nothing is native');

PVE::Storage::config();
isnt(\&PVE::GuestHelpers::exec_hookscript, $hooks, 'then the hooks are');
is_deeply([wrapped()], ['PVE::GuestHelpers::exec_hookscript', 'PVE::Storage::config'], 'alone');

require PVE::QemuServer;
my %before = map { ($_ => \&{$_}) } qw(PVE::QemuServer::config_to_command PVE::QemuServer::Blockdev::attach);
ok(!PVE::Luksmith::Wraps::is_native(), 'QEMU is loaded, but not wrapped yet');

subtest 'all of what a native volume needs, or none' => sub {
    local *PVE::QemuServer::Blockdev::attach = *nothing;
    PVE::Luksmith::Wraps::install_late();
    is_deeply([grep { m/blockdev|attach/ } wrapped()], [], 'none without attach');
    ok(!PVE::Luksmith::Wraps::is_native(), 'nothing is native');
    isnt(\&PVE::QemuServer::config_to_command, $before{'PVE::QemuServer::config_to_command'},
        'but who builds a command line is asked whether the guest may start');
};
subtest 'nor without what the wraps call' => sub {
    local *PVE::QemuServer::Monitor::qsd_qmp_peer = *nothing;
    PVE::Luksmith::Wraps::install_late();
    ok(!PVE::Luksmith::Wraps::is_native(), 'nothing is native');
};

my $storecfg = PVE::Storage::config();
ok(PVE::Luksmith::Wraps::is_native(), 'asked once more, it is');
isnt(\&{$_}, $before{$_}, "$_ is wrapped") for sort keys %before;
is(scalar(grep { $_ eq 'PVE::Storage::config' } wrapped()), 0, 'and config is what it was');

my $once = \&PVE::QemuServer::config_to_command;
PVE::Luksmith::Wraps::install_late();
PVE::Luksmith::Wraps::install();
{
    local $SIG{__WARN__} = sub { die @_ if $_[0] !~ m/redefined/ };
    delete($INC{'PVE/Luksmith/Wraps.pm'});
    require PVE::Luksmith::Wraps;
    PVE::Luksmith::Wraps::install();
}
is(\&PVE::QemuServer::config_to_command, $once, 'a second time changes nothing, nor does a second load');

subtest 'a storage elsewhere, and no context: the original answers' => sub {
    my $node = PVE::Storage::qemu_blockdev_options($storecfg, 'luks:vm-100-disk-0', '10.0', {});
    is_deeply($node, { driver => 'file', filename => "$Lab::HOME/run/export/luks/vm-100-disk-0.img" }, 'an export');
};

subtest 'natively' => sub {
    my %ceph = (ids => { ceph => { type => 'luksmith', 'base-pool' => 'pool' } });
    my %opened;
    my ($node, $state, $snapshot) = PVE::Luksmith::Native::collect(\%opened, {}, sub {
        return (
            PVE::Storage::qemu_blockdev_options(\%ceph, 'ceph:vm-100-disk-0', '10.0', {}),
            PVE::Storage::qemu_blockdev_options($storecfg, 'luks:vm-100-state-now', '10.0', {}),
            PVE::Storage::qemu_blockdev_options(\%ceph, 'ceph:vm-100-disk-0', '10.0', { 'snapshot-name' => 'monday' }),
        );
    });
    is($node->{driver}, 'luks', 'luks');
    is($node->{'key-secret'}, PVE::Luksmith::Names::secret_id('ceph:vm-100-disk-0'), 'with its secret');
    is($node->{file}->{image}, 'vm-100-disk-0', 'above the image');
    is($node->{file}->{snapshot}, undef, 'itself');
    is($snapshot->{file}->{snapshot}, 'monday', 'or a snapshot of it');
    is($state->{driver}, 'file', 'saved memory is exported');
    is_deeply([keys %opened], ['ceph:vm-100-disk-0'], 'and needs no secret');
    ok(!PVE::Luksmith::Wraps::native_context(), 'afterwards all is as before');
};

subtest 'what is no volume of ours' => sub {
    my @none = (undef, '', 'none', 'cdrom', '/dev/sda', 'nbd:unix:/run/x:exportname=y', 'local:vm-100-disk-0',
        'luks:../vm-100-disk-0', 'luks:iso/x.iso', "luks:vm-100-disk-0\n", 'elsewhere:vm-100-disk-0', []);
    for my $file (@none) {
        is(PVE::Luksmith::Native::volume($storecfg, $file), undef, $file // 'undef');
    }
    my %nbd = (ids => { nbd => { type => 'luksmith', 'base-path' => '/x' } });
    is(PVE::Luksmith::Native::volume(\%nbd, 'nbd:unix:/run/x:exportname=y'), undef, 'nor if a storage is called nbd');
};

sub wrapped () {
    my @names = sort keys %PVE::Luksmith::Wraps::wrapped;
    return @names;
}

done_testing();
