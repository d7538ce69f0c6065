package PVE::Luksmith::Interruption;

# SPDX-License-Identifier: Apache-2.0
# Errors that are none: Proxmox VE's signal handlers die in whatever runs when a lock ends, a time limit is over or a
# task is stopped. Whoever forgives errors has to pass these on: without the lock nothing may go on.

use v5.36;

my @TEXTS = (qr/\Agot timeout\n\z/, qr/\Areceived interrupt\n\z/, qr/-locked command timed out - aborting\n\z/);

# Dies again with an error that is one of them.
sub pass_on ($error) {
    die $error if is_one($error);
    return;
}

sub is_one ($error) {
    return (grep { ($error // '') =~ $_ } @TEXTS) ? 1 : 0;
}

1;
