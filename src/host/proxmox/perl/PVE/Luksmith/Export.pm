package PVE::Luksmith::Export;

# SPDX-License-Identifier: Apache-2.0
# A decrypted volume as a file, for everything that needs a path: the engine starts a storage daemon that shows it
# through FUSE, to root alone. Whether one is open is found out here, without the engine.

use v5.36;

use PVE::Luksmith::Engine;
use PVE::Luksmith::Interruption;
use PVE::Luksmith::Paths;
use Time::HiRes qw(sleep time);

# First fifteen characters of what the kernel calls a process of qemu-storage-daemon.
my $DAEMON = 'qemu-storage-da';

# Seconds until QEMU has closed a file.
my $PATIENCE = 10;

sub path ($storeid, $name, $snap = undef) {
    return place($storeid, $name, $snap) . '.img';
}

# Whether the daemon runs, and its file is mounted: a file that was left behind is that of the directory.
sub is_open ($storeid, $name, $snap = undef) {
    my $place = place($storeid, $name, $snap);
    my ($pid) = (first_line("$place.pid") // '') =~ m/\A([1-9][0-9]*)\s*\z/ or return 0;
    return 0 if (first_line("/proc/$pid/comm") // '') !~ m/\A\Q$DAEMON\E/;

    my ($directory) = $place =~ m!\A(.*)/!;
    my @there = stat("$place.img")  or return 0;
    my @around = stat($directory) or return 0;
    return $there[0] != $around[0] ? 1 : 0;
}

# The same, for who wants to use it: exports that nobody has asked for in a while are closed.
sub keep_open ($storeid, $name, $snap = undef) {
    utime(undef, undef, place($storeid, $name, $snap) . '.pid');
    return is_open($storeid, $name, $snap);
}

# Whether there is anything of it: one that is not open, but was not closed either.
sub is_left ($storeid, $name, $snap = undef) {
    my $place = place($storeid, $name, $snap);
    return (grep { defined(lstat("$place.$_")) && (-e _ || -l _) } qw(img pid qmp)) ? 1 : 0;
}

# $base: an object of PVE::Luksmith::Base. Returns the path.
sub open ($base, $name, $snap = undef) {    ## no critic (ProhibitBuiltinHomonyms)
    my $result = PVE::Luksmith::Engine::bridge(request($base, $name, $snap, 'open'));
    my $path   = path($base->id, $name, $snap);
    die "luksmith exported a volume to another place than $path\n" if ($result->{path} // $path) ne $path;
    return $path;
}

# As close, of what QEMU has just been told to close: that takes it a moment.
sub close_soon ($base, $name, $snap = undef) {
    my $end = time() + $PATIENCE;
    while (!eval { PVE::Luksmith::Export::close($base, $name, $snap); 1 }) {
        PVE::Luksmith::Interruption::pass_on($@);
        die $@ if time() >= $end || !is_open($base->id, $name, $snap);
        sleep(0.5);
    }
    return;
}

# One that is gone is success. Asks the engine only if there is something.
sub close ($base, $name, $snap = undef) {    ## no critic (ProhibitBuiltinHomonyms)
    return if !is_left($base->id, $name, $snap);
    PVE::Luksmith::Engine::bridge(request($base, $name, $snap, 'close'));
    return;
}

sub request ($base, $name, $snap, $op) {
    my $request = { op => $op, storage => $base->storage_json, volume => $name };
    $request->{snapshot} = $snap if defined($snap);
    return $request;
}

sub place ($storeid, $name, $snap) {
    my $file = defined($snap) ? "$name\@$snap" : $name;
    return "$PVE::Luksmith::Paths::RUN/export/$storeid/$file";
}

sub first_line ($path) {
    CORE::open(my $fh, '<', $path) or return;
    my $line = readline($fh);
    CORE::close($fh);
    return $line;
}

1;
