package PVE::Luksmith::Wraps;

# SPDX-License-Identifier: Apache-2.0
# Puts Luksmith around the five places of Proxmox VE that have no hook of their own. Each wrap is guarded: where the
# place is missing, or is not what it was, QEMU gets exports instead of native volumes, which is slower; nothing is ever
# opened in plaintext for it.

use v5.36;

use PVE::Luksmith::Attach;
use PVE::Luksmith::CommandLine;
use PVE::Luksmith::Hooks;
use PVE::Luksmith::InUse;
use PVE::Luksmith::Native;

my $HOOKS  = 'PVE::GuestHelpers::exec_hookscript';
my $CONFIG = 'PVE::Storage::config';

# Where it is decided whether a guest may start, at the latest.
my $COMMAND = 'PVE::QemuServer::config_to_command';

# Those that are of no use without each other.
my %NATIVE = (
    'PVE::Storage::qemu_blockdev_options' => \&PVE::Luksmith::Native::blockdev_options,
    'PVE::QemuServer::Blockdev::attach'   => \&PVE::Luksmith::Attach::attach,
);

# What the wraps themselves call.
my @NEEDED = map { "PVE::QemuServer::Monitor::$_" } qw(mon_cmd qmp_cmd qsd_qmp_peer vm_qmp_peer);

# Originals by name; they outlive a second load of this file.
our %wrapped;

# Why volumes are not opened natively any more in this process.
our $gave_up;

# When the storage plugin is loaded. PVE::GuestHelpers loads PVE::Storage, and so us, before it has its own functions;
# and a guest without a volume of ours never calls the plugin. But nothing starts a guest without having asked for
# storage.cfg: the last step waits for that.
sub install () {
    install_late();
    wrap($CONFIG, sub ($original, @arguments) { install_late(); return $original->(@arguments) }) if !is_complete();
    return;
}

# Whatever is loaded by now. Cheap, and harmless when repeated.
sub install_late () {
    wrap($HOOKS,   \&PVE::Luksmith::Hooks::exec_hookscript);
    wrap($COMMAND, \&PVE::Luksmith::CommandLine::config_to_command);

    # all or none: a node without its passphrase cannot be opened
    if (!missing()) {
        wrap($_, $NATIVE{$_}) for sort keys %NATIVE;
    }
    unwrap($CONFIG) if is_complete();
    return;
}

sub is_complete () {
    return !grep { !$wrapped{$_} } $HOOKS, $COMMAND, keys %NATIVE;
}

sub missing () {
    return grep { !defined(&{$_}) } $COMMAND, sort(keys %NATIVE), @NEEDED;
}

# Whether QEMU can be given volumes natively by this process.
sub is_native () {
    return !defined($gave_up) && !grep { !$wrapped{$_} } $COMMAND, keys %NATIVE;
}

# To who starts a guest, where one thing or another is missing: qemu-server before 9.1.9. On Proxmox VE 8, which has
# nothing of it, that is no news.
sub explain_exports () {
    my @missing = missing();
    return if defined($gave_up) || !@missing;
    return if !grep { defined(&{$_}) } keys %NATIVE;
    warn_once("this qemu-server has no $missing[0]: encrypted disks work, but slower, until it is 9.1.9 or newer");
    return;
}

# Whether the caller is asked for the node of a volume that the passphrase is handed over for.
sub native_context () {
    return PVE::Luksmith::Native::in_context();
}

# Whether the guest runs on this node and has the volume open.
sub in_use_natively ($vmid, $base, $name) {
    return PVE::Luksmith::InUse::in_use_natively($vmid, $base, $name);
}

# For the rest of this process. Says so once.
sub give_up ($why) {
    return if defined($gave_up);
    $gave_up = $why;
    warn_once("luksmith does not know this version of Proxmox VE ($why): encrypted disks work, but slower");
    return;
}

# Each text, in this process.
sub warn_once ($text) {
    state %said;
    warn "$text\n" if !$said{$text}++;
    return;
}

# $around gets the original before the arguments, in the same context. Nothing if there is no such function yet, or it
# is wrapped already.
sub wrap ($name, $around) {
    return if $wrapped{$name} || !defined(&{$name});
    my $original = \&{$name};
    my $wrapper  = sub { return $around->($original, @_) };
    $wrapped{$name} = { original => $original, wrapper => $wrapper };
    replace($name, $wrapper);
    return;
}

# Stays where somebody else has wrapped it again.
sub unwrap ($name) {
    my $wrap = $wrapped{$name} // return;
    return if \&{$name} != $wrap->{wrapper};
    delete($wrapped{$name});
    replace($name, $wrap->{original});
    return;
}

sub replace ($name, $code) {
    no strict 'refs';          ## no critic (ProhibitNoStrict)
    no warnings 'redefine';    ## no critic (ProhibitNoWarnings)
    *{$name} = $code;
    return;
}

1;
