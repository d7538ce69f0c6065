package PVE::GuestHelpers;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract. It loads PVE::Storage, and with it the
# storage plugins, before its own functions are there, as the real one does.

use v5.36;

use PVE::Storage;
use PVE::Tools ();

# The user's own script; here a path, not a volume of snippets.
sub exec_hookscript ($conf, $vmid, $phase, $stop_on_error = 0) {
    return if !$conf->{hookscript};
    return if eval { PVE::Tools::run_command([$conf->{hookscript}, $vmid, $phase]); 1 };
    my $message = "hookscript error for $vmid on $phase: $@\n";
    die $message if $stop_on_error;
    warn $message;
    return;
}

1;
