package PVE::Luksmith::Transfer;

# SPDX-License-Identifier: Apache-2.0
# A volume as a stream: its size, then what the guest sees of it, for offline migration of local volumes between nodes.
# The stream is plaintext; on its way it is protected by ssh. The volume on the other side gets a key of its own.

use v5.36;

use PVE::Luksmith::Export;
use PVE::Storage::Plugin;
use PVE::Tools ();

our $FORMAT = 'raw+size';

# Writes the decrypted volume to $fh.
sub send_volume ($base, $name, $fh) {
    my ($size) = $base->size_info($name);
    my $file = PVE::Luksmith::Export::open($base, $name);
    PVE::Storage::Plugin::write_common_header($fh, $size);
    copy($size, "if=$file", [], output => '>&' . fileno($fh));
    return;
}

# Writes what $fh brings into the volume. Zeros too: a new encrypted volume reads as noise, not as zeros.
sub receive_volume ($base, $name, $fh, $size) {
    my $file = PVE::Luksmith::Export::open($base, $name);
    copy($size, "of=$file", ['conv=notrunc,nocreat,fsync'], input => '<&' . fileno($fh));
    PVE::Luksmith::Export::close($base, $name);
    return;
}

# dd takes an early end of its input for success: told by the bytes that it copied.
sub copy ($size, $file, $options, %stream) {
    my ($count) = $size =~ m/\A([0-9]+)\z/ or die "'$size' is no size\n";
    my $copied;
    PVE::Tools::run_command(
        ['/usr/bin/dd', $file, 'bs=1M', "count=$count", 'iflag=count_bytes,fullblock', 'status=progress', $options->@*],
        %stream,
        errfunc => sub ($line) {
            $copied = $1 if $line =~ m/\A([0-9]+) bytes/;
            print STDERR "$line\n";
        },
    );
    die "only " . ($copied // 0) . " of $size bytes were copied\n" if ($copied // 0) != $size;
    return;
}

1;
