package PVE::Luksmith::Secrets;

# SPDX-License-Identifier: Apache-2.0
# Takes host secrets away: files in memory from which QEMU reads passphrases. The engine writes them; no passphrase ever
# passes through Perl.

use v5.36;

use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_WRONLY S_ISDIR);

my $CHUNK = 4096;

# Overwrites and removes every file of a start's directory, then the directory, and the guest's when it is empty. What
# is gone already is success. Follows no symbolic link. Returns what could not be removed, as texts.
sub erase_directory ($path) {
    my @left = ();
    if (is_directory($path)) {
        opendir(my $directory, $path) or return "$path: $!";
        my @names = grep { $_ ne '.' && $_ ne '..' } map { m{\A([^/]+)\z}s ? $1 : () } readdir($directory);
        closedir($directory);
        @left = map { erase("$path/$_") } @names;
        rmdir($path);
    } else {
        @left = erase($path);
    }

    # another start of the guest may be in it
    rmdir($1) if $path =~ m{\A(.+)/[^/]+\z};
    return @left;
}

sub is_directory ($path) {
    my @stat = lstat($path) or return 0;
    return S_ISDIR($stat[2]);
}

sub erase ($path) {
    overwrite($path);
    return unlink($path) || $!{ENOENT} ? () : "$path: $!";
}

# What is no file is left as it is. No fsync: a tmpfs has no disk behind it.
sub overwrite ($path) {
    sysopen(my $file, $path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK) or return;
    my $left = (stat($file))[7];
    while ($left > 0) {
        my $written = syswrite($file, "\0" x ($left < $CHUNK ? $left : $CHUNK)) or last;
        $left -= $written;
    }
    close($file) or return;
    return;
}

1;
