#!/usr/bin/perl -T

# SPDX-License-Identifier: Apache-2.0
# Directories of host secrets, and how they go.

use v5.36;

use FindBin;
use lib map { m{^(.+)$} ? "$1/lib" : () } $FindBin::Bin;
use Lab;
use POSIX ();
use PVE::GuestHelpers;
use PVE::Luksmith::Starts;
use Test::More;

# As the engine does it.
sub fill ($start, @files) {
    my $path = '';
    for my $part (split(m{/}, $start->directory)) { $path .= "$part/"; mkdir($path, oct('0700')) }
    Lab::write_file($start->file($_), "secret of $_") for @files;
    return $start;
}

sub content ($path) { return Lab::read_file($path) }

subtest 'a start is named after its process' => sub {
    my $start = PVE::Luksmith::Starts->new(100);
    my ($pid, $time, $number) = split(/-/, $start->name);
    is($pid, $$, 'its pid');
    is($time, (split(/ /, content("/proc/$$/stat") =~ s/.*\) //sr))[19], 'when it started');
    is(PVE::Luksmith::Starts->new(100)->name, "$pid-$time-" . ($number + 1), 'and a number');
    like(Lab::error_of(sub { PVE::Luksmith::Starts->new('../1') }), qr/is not a VMID/, 'a VMID is a number');
};

subtest 'files are overwritten, then removed' => sub {
    my $start = fill(PVE::Luksmith::Starts->new(100), 'scsi0');
    link($start->file('scsi0'), "$Lab::HOME/kept") or die "link: $!\n";
    $start->withdraw;
    is(content("$Lab::HOME/kept"), "\0" x length('secret of scsi0'), 'by as many zeros');
    is_deeply([Lab::secrets()], [], 'with their directories');
    is(Lab::error_of(sub { $start->withdraw }), undef, 'what is gone is gone');
};

subtest 'symbolic links are removed, not followed' => sub {
    Lab::write_file("$Lab::HOME/other", 'not ours');
    my $start = fill(PVE::Luksmith::Starts->new(100));
    symlink("$Lab::HOME/other", $start->file('scsi0'));
    symlink("$Lab::HOME",       $start->file('scsi1'));
    $start->withdraw;
    is(content("$Lab::HOME/other"), 'not ours', 'a file');
    is_deeply([Lab::secrets()], [], 'nothing is left');

    my $second = fill(PVE::Luksmith::Starts->new(100));
    mkdir("$Lab::HOME/elsewhere");
    Lab::write_file("$Lab::HOME/elsewhere/file", 'not ours');
    rmdir($second->directory);
    symlink("$Lab::HOME/elsewhere", $second->directory);
    $second->withdraw;
    is(content("$Lab::HOME/elsewhere/file"), 'not ours', 'a directory');
    is_deeply([Lab::secrets()], [], 'nothing is left');
};

subtest 'another start of the guest stays' => sub {
    my $first  = fill(PVE::Luksmith::Starts->new(100), 'a');
    my $second = fill(PVE::Luksmith::Starts->new(100), 'b');
    $first->withdraw;
    is(content($second->file('b')), 'secret of b', 'with its files');
};
is_deeply([Lab::secrets()], [], 'a start ends with its object');

subtest 'a start ends with the configuration that it was begun with' => sub {
    my $conf  = {};
    my $other = {};
    fill(PVE::Luksmith::Starts->begin(100, $conf), 'a');
    PVE::Luksmith::Starts->of(100)->keep_with($other);
    $conf = undef;
    is(scalar(grep { m/a$/ } Lab::secrets()), 1, 'or the one that took its place');
    $other = undef;
    is_deeply([Lab::secrets()], [], 'then it is withdrawn');
    is(PVE::Luksmith::Starts->of(100), undef, 'and forgotten');
};

subtest 'errors are not lost on the way' => sub {
    my $error = Lab::error_of(sub {
        my $conf = {};
        fill(PVE::Luksmith::Starts->begin(100, $conf), 'a');
        die "the error\n";
    });
    is($error, "the error\n", 'the error');
    my $conf = {};
    PVE::Luksmith::Starts->begin(101, $conf);
    local $! = 13;
    $conf = undef;
    is($! + 0, 13, 'nor the one of the system');
    is_deeply([Lab::secrets()], [], 'and nothing is left');
};

subtest 'a start of the same guest ends the one before' => sub {
    my ($first, $second) = ({}, {});
    my $before = fill(PVE::Luksmith::Starts->begin(100, $first), 'a')->directory;
    fill(PVE::Luksmith::Starts->begin(100, $second), 'b');
    ok(!-e $before, 'the first is gone');
    $first = undef;
    is(scalar(grep { m/b$/ } Lab::secrets()), 1, 'and does not take the second with it');
    PVE::Luksmith::Starts::withdraw_failed(101);
    is(scalar(grep { m/b$/ } Lab::secrets()), 1, 'nor does another guest');
    PVE::Luksmith::Starts::withdraw_failed(100);
    is_deeply([Lab::secrets()], [], 'which deactivation ends');
};

subtest 'a forked process' => sub {
    my $conf  = {};
    my $start = fill(PVE::Luksmith::Starts->begin(100, $conf), 'a');
    my $name  = $start->name;
    pipe(my $reader, my $writer);
    my $pid = fork() // die "fork: $!\n";
    if (!$pid) {
        PVE::Luksmith::Starts::withdraw_failed(100);
        my $own = PVE::Luksmith::Starts->new(100)->name;
        ($conf, $start) = ();
        syswrite($writer, "$own\n");
        POSIX::_exit(0);
    }
    waitpid($pid, 0);
    like(readline($reader), qr/^$pid-/, 'has starts under its own name');
    is(content($start->file('a')), 'secret of a', 'and does not end those of its parent');
};

done_testing();
