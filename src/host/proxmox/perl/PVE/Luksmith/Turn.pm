package PVE::Luksmith::Turn;

# SPDX-License-Identifier: Apache-2.0
# Who may have the disks of a guest looked at. Whoever does waits for storages and keystores, and so does one of pvedaemon's
# workers, of which there are three unless somebody wants more: some place must be left for all other requests. One look at
# a guest at a time, so that whoever sees one guest alone cannot take all places.

use v5.36;

use Fcntl qw(LOCK_EX LOCK_NB O_CREAT O_NOFOLLOW O_RDWR);
use File::Path ();
use PVE::Luksmith::Paths;

our $PLACES = 2;

# Few files, whatever VMIDs are asked for; guests that share one wait for each other.
my $GUESTS = 100;

# Something that lasts as long as the turn is to; nothing if others have theirs.
sub take ($vmid) {
    my $guest = locked('guest-' . $vmid % $GUESTS) // return;
    for my $number (1 .. $PLACES) {
        my $place = locked("place-$number") // next;
        return [$guest, $place];
    }
    return;
}

# An open file, which is unlocked when it is forgotten; nothing if somebody else has it.
sub locked ($name) {
    my $directory = "$PVE::Luksmith::Paths::RUN/api";
    File::Path::make_path($directory, { mode => oct('0700') });
    sysopen(my $file, "$directory/$name", O_CREAT | O_NOFOLLOW | O_RDWR, oct('0600'))
        or die "cannot open $directory/$name: $!\n";
    return flock($file, LOCK_EX | LOCK_NB) ? $file : undef;
}

1;
