package PVE::Luksmith::Header;

# SPDX-License-Identifier: Apache-2.0
# The part of a LUKS1 header (its on-disk format specification, section 3.1) that tells where the data begins.

use v5.36;

use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_RDONLY);
use PVE::Luksmith::Names;

use constant {
    SECTOR => 512,
    LENGTH => 592,

    # of the volumes that Luksmith makes: what cryptsetup uses too
    PAYLOAD_OFFSET => 2 * 1024 * 1024,
};

# Bytes before the data, or undef if there is no LUKS1 header or it cannot be read. Symbolic links are not followed in
# the last part of a file's path; the links that udev makes for devices are.
sub payload_offset ($path) {
    my $flags = O_RDONLY | O_NONBLOCK;
    $flags |= O_NOFOLLOW if $path !~ m!\A/dev/!;
    sysopen(my $fh, $path, $flags) or return;
    my $got = sysread($fh, my $bytes, LENGTH);
    close($fh);
    return if !defined($got) || $got < LENGTH;

    my ($magic, $version, $sectors) = unpack('a6 n x96 N', $bytes);
    return if $magic ne "LUKS\xba\xbe" || $version != 1;
    return $sectors * SECTOR;
}

# Bytes that a guest sees of a volume of so many bytes; untainted.
sub guest_size ($bytes, $path = undef) {
    my $offset = (defined($path) ? payload_offset($path) : undef) // PAYLOAD_OFFSET;
    my ($whole, $before) = map { PVE::Luksmith::Names::number($_) } $bytes, $offset;
    return $whole > $before ? $whole - $before : 0;
}

1;
