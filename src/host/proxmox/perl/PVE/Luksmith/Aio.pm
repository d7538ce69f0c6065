package PVE::Luksmith::Aio;

# SPDX-License-Identifier: Apache-2.0
# How QEMU reads and writes the file or device below LUKS. Proxmox VE says this of the node that it is given, which is
# LUKS; what lies below would fall back to QEMU's own default, threads.

use v5.36;

# io_uring_setup(2) with no entries: refused for that reason where it could be used at all.
my $IO_URING_SETUP = 425;
my $PARAMS_LENGTH  = 120;
my $is_there;

my %HAS_AIO = map { $_ => 1 } qw(file host_device);

# The node, with what the drive asks for, or what Proxmox VE would choose. $drive has the options `aio`, `cache` and
# `media` of a drive, or nothing.
sub of ($base, $node, $drive) {
    return $node if !$HAS_AIO{ $node->{driver} };
    my $aio = choice($base, $drive // {});
    return defined($aio) ? { $node->%*, aio => $aio } : $node;
}

sub choice ($base, $drive) {
    my $wanted    = $drive->{aio} // '';
    my $is_direct = is_direct($drive);
    return 'threads'  if $wanted eq 'threads';
    return 'native'   if $wanted eq 'native' && $is_direct;
    return 'io_uring' if ($wanted eq 'io_uring' || $base->has_io_uring) && kernel_has_io_uring();

    # which needs the cache to be bypassed, as does the default without io_uring
    return $is_direct && !$base->has_io_uring ? 'native' : undef;
}

# As Proxmox VE decides about `cache.direct`.
sub is_direct ($drive) {
    my $cache = $drive->{cache} // (($drive->{media} // '') eq 'cdrom' ? 'writeback' : 'none');
    return $cache =~ m/\A(?:none|off|directsync)\z/ ? 1 : 0;
}

# It can be forbidden, by the kernel's own settings or around the process.
sub kernel_has_io_uring () {
    return $is_there //= do {
        local $!;
        my $params = "\0" x $PARAMS_LENGTH;
        syscall($IO_URING_SETUP, 0, $params) < 0 && $!{EINVAL} ? 1 : 0;
    };
}

1;
