package PVE::Luksmith::Hooks;

# SPDX-License-Identifier: Apache-2.0
# Around PVE::GuestHelpers::exec_hookscript, which Proxmox VE calls in every phase of every guest, whether it has a
# hookscript or not. Before a guest starts, the engine's hook decides whether it may, and provides passphrases; the
# user's own hookscript runs after it, and after a stop before it.
#
# A hook asks a keystore, whose requests have time limits of their own; there is one above them all (Engine::LIMIT).
# Until it ends, Proxmox VE holds the lock of the guest's configuration; stopping the task ends the hook, and the guest
# does not start.

use v5.36;

use PVE::Luksmith::Engine;
use PVE::Luksmith::Interruption;
use PVE::Luksmith::Starts;

# In memory only, and no options of the guest.
my %NO_OPTION = map { $_ => 1 } qw(digest pending snapshots special-sections);

sub exec_hookscript ($original, @arguments) {
    my ($conf, $vmid, $phase) = @arguments;
    if (ref($conf) ne 'HASH' || ($vmid // '') !~ m/\A[1-9][0-9]{2,8}\z/ || ref($phase) || !length($phase // '')) {
        PVE::Luksmith::Wraps::give_up('exec_hookscript is called with other arguments');
        return $original->(@arguments);
    }

    # a container
    return $original->(@arguments) if exists($conf->{rootfs});

    return before_start($original, @arguments) if $phase eq 'pre-start';
    return after_stop($original, @arguments)   if $phase eq 'post-stop';
    after_start($vmid)                         if $phase eq 'post-start';
    return $original->(@arguments);
}

# Dies, whatever the caller thinks of errors: a guest must not start with a disk that should be encrypted and is not.
sub before_start ($original, $conf, $vmid, @more) {
    my $start = admit($conf, $vmid);
    return if eval { $original->($conf, $vmid, @more); 1 };
    my $error = $@;
    $start->withdraw();
    die $error;
}

# Asks the hook whether the guest may start, and begins the start. Dies if it may not.
sub admit ($conf, $vmid) {
    my $start = PVE::Luksmith::Starts->begin($vmid, $conf);
    my $from  = $ENV{PVE_MIGRATED_FROM} // '';
    my $input = { config => options($conf), start => $start->name };
    $input->{migratedFrom} = $from if length($from);
    return $start if eval { allow($vmid, length($from) ? 'pre-migrate' : 'pre-start', $input); 1 };
    my $error = $@;
    $start->withdraw();
    die $error;
}

sub allow ($vmid, $event, $input) {
    return if eval { PVE::Luksmith::Engine::hook($event, $vmid, 'pre-start', $input); 1 };
    PVE::Luksmith::Interruption::pass_on($@);
    my $error = $@ =~ s/\s+\z//r;

    # the hook explains itself; where it could not even run, say what that has to do with a guest
    die one_sentence($error) . "\n" if $error =~ m/^error: /m;
    die "error: cannot start VM $vmid: luksmith cannot find out whether its disks have to be encrypted; "
        . "cause: $error; "
        . "hint: repair or reinstall the package luksmith on this node; start the VM on another node meanwhile\n";
}

# Proxmox VE's task log makes spaces of line ends.
sub one_sentence ($error) {
    return $error =~ s/\n(?=(?:cause|hint): )/; /gr;
}

# QEMU has read the passphrases, and the user's script may take its time.
sub after_start ($vmid) {
    my $start = PVE::Luksmith::Starts->of($vmid) // return;
    for my $object ($start->objects) {
        local $@;
        eval { PVE::QemuServer::Monitor::mon_cmd($vmid, 'object-del', id => $object, noerr => 1) };
        PVE::Luksmith::Interruption::pass_on($@);
    }
    $start->withdraw();
    return;
}

sub after_stop ($original, $conf, $vmid, @more) {
    my $done  = eval { $original->($conf, $vmid, @more); 1 };
    my $error = $@;
    PVE::Luksmith::Starts::withdraw_failed($vmid);
    eval { PVE::Luksmith::Engine::hook('post-stop', $vmid, 'post-stop', { config => options($conf) }); 1 }
        or complain($vmid, $@);
    die $error if !$done;
    return;
}

sub complain ($vmid, $error) {
    PVE::Luksmith::Interruption::pass_on($error);
    warn "luksmith could not clean up after VM $vmid: $error";
    return;
}

# The guest's options as its configuration file has them.
sub options ($conf) {
    return { map { ($_ => "$conf->{$_}") } grep { is_option($_, $conf->{$_}) } keys $conf->%* };
}

sub is_option ($name, $value) {
    return defined($value) && !ref($value) && !$NO_OPTION{$name};
}

1;
