#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# What a hook is told, in which order things run, and what a user reads.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use PVE::GuestHelpers;
use PVE::QemuServer;
use Test::More;

PVE::Luksmith::Wraps::install_late();
Lab::write_file("$Lab::HOME/user.sh", "#!/bin/sh\necho \"user \$2\" >>$Lab::HOME/log.user\ncp $Lab::HOME/log $Lab::HOME/log.then 2>/dev/null\nexit 0\n");
Lab::write_file("$Lab::HOME/fails.sh", "#!/bin/sh\nexit 1\n");
chmod(oct('0755'), "$Lab::HOME/$_.sh") for qw(user fails);

sub run ($conf, $phase, @more) { return PVE::GuestHelpers::exec_hookscript($conf, 100, $phase, @more) }

subtest 'a hook is told the options of the guest, as text' => sub {
    my $conf = {
        scsi0 => 'luks:vm-100-disk-0', cores => 4, description => "K\x{fc}che \x{2603}\n", lock => 'backup',
        digest => 'd', pending => { cores => 2 }, snapshots => {}, 'special-sections' => {}, other => [], none => undef,
    };
    run($conf, 'pre-start', 1);
    my ($hook) = Lab::asked();
    is_deeply($hook->{arguments}, ['proxmox', '100', 'pre-start'], 'which one, and when');
    is_deeply(
        $hook->{input}->{config},
        { scsi0 => 'luks:vm-100-disk-0', cores => '4', description => "K\x{fc}che \x{2603}\n", lock => 'backup' },
        'nothing else',
    );
    is($hook->{input}->{migratedFrom}, undef, 'nothing of a migration');
    is_deeply([Lab::secrets()], ['100', "100/$hook->{input}->{start}", "100/$hook->{input}->{start}/scsi0"], 'where it asked for it');
    run($conf, 'post-start');
    is_deeply([Lab::secrets()], [], 'until the guest runs');
    is_deeply([Lab::asked()], [], 'which the engine need not know');
};

subtest 'a migration' => sub {
    local $ENV{PVE_MIGRATED_FROM} = 'node2';
    run({}, 'pre-start', 1);
    my ($hook) = Lab::asked();
    is($hook->{script}, 'hooks/pre-migrate.js', 'has an event of its own');
    is_deeply($hook->{arguments}, ['proxmox', '100', 'pre-start'], 'in the same phase');
    is($hook->{input}->{migratedFrom}, 'node2', 'is told');
    local $ENV{PVE_MIGRATED_FROM} = '';
    run({}, 'pre-start', 1);
    is((Lab::asked())[0]->{script}, 'hooks/pre-start.js', 'an empty name is none');
};

subtest 'a container' => sub {
    Lab::wrong('veto');
    my $conf = { rootfs => 'luks:vm-100-disk-0', hookscript => "$Lab::HOME/user.sh" };
    run($conf, $_, 1) for qw(pre-start post-start pre-stop post-stop);
    is_deeply([Lab::asked()], [], 'is none of our business');
    is(user_log(), "user pre-start\nuser post-start\nuser pre-stop\nuser post-stop\n", 'its own script runs');
    Lab::wrong();
};

subtest "the user's own script" => sub {
    my $conf = { hookscript => "$Lab::HOME/user.sh" };
    run($conf, 'pre-start', 1);
    ok(-e "$Lab::HOME/log.then", 'runs after ours before the start');
    Lab::asked();
    unlink("$Lab::HOME/log.then");
    run($conf, 'post-stop');
    ok(!-e "$Lab::HOME/log.then", 'and before ours after the stop');
    is((Lab::asked())[0]->{script}, 'hooks/post-stop.js', 'which runs then');
    is(user_log(), "user pre-start\nuser post-stop\n", 'both ran');
    Lab::wrong('veto');
    like(Lab::error_of(sub { run($conf, 'pre-start', 1) }), qr/needs a key/, 'after our veto');
    is(user_log(), '', 'it does not run');
    Lab::wrong();
    Lab::asked();
};

subtest 'a veto counts, whatever the caller thinks of errors' => sub {
    Lab::wrong('warn', 'veto');
    like(Lab::error_of(sub { run({}, 'pre-start', 1) }),
        qr/\Awarning: [^\n]+\nerror: [^\n]+; cause: [^\n]+; hint: [^\n]+\n\z/, 'its sentences in one line');
    my $conf = { scsi0 => 'luks:vm-100-disk-0' };
    ok(defined(Lab::error_of(sub { run($conf, 'pre-start') })), 'it dies');
    is_deeply([Lab::secrets()], [], 'and nothing is left, though the configuration is still there');
    Lab::wrong();
    Lab::asked();
};

subtest 'after a stop' => sub {
    Lab::wrong('veto');
    my @warnings = Lab::warnings_of(sub { run({}, 'post-stop') });
    like($warnings[0], qr/\Aluksmith could not clean up after VM 100: error: /, 'a hook that fails is a warning');
    local $PVE::Luksmith::Paths::ENGINE = '/nonexistent';
    @warnings = Lab::warnings_of(sub { run({}, 'post-stop') });
    like($warnings[0], qr/reinstall|install the package/, 'as is one that is not there');
    @warnings = Lab::warnings_of(sub { run({ hookscript => "$Lab::HOME/fails.sh" }, 'post-stop') });
    is(scalar(@warnings), 2, "and the user's script that fails is another one");
    @warnings = Lab::warnings_of(sub {
        like(Lab::error_of(sub { run({ hookscript => "$Lab::HOME/fails.sh" }, 'post-stop', 1) }), qr/hookscript error/, 'or an error');
    });
    is(scalar(@warnings), 1, 'after which ours runs all the same');
    Lab::wrong();
    Lab::asked();
};

subtest 'arguments that nobody knows' => sub {
    my @warnings = Lab::warnings_of(sub { PVE::GuestHelpers::exec_hookscript({}, undef, 'pre-start') for 1, 2 });
    is(scalar(grep { m/does not know this version/ } @warnings), 1, 'are one warning');
    ok(!PVE::Luksmith::Wraps::is_native(), 'and from then on there are exports');
};

sub user_log () {
    my $log = Lab::read_file("$Lab::HOME/log.user");
    unlink("$Lab::HOME/log.user");
    return $log;
}

done_testing();
