package PVE::Luksmith::Attach;

# SPDX-License-Identifier: Apache-2.0
# Around PVE::QemuServer::Blockdev::attach, which gives a volume to a QEMU or a storage daemon that runs already:
# hotplug, targets of a mirror, fleecing images. The passphrase comes first, and is taken away as soon as the volume is
# open.

use v5.36;

use PVE::Luksmith::Engine;
use PVE::Luksmith::Export;
use PVE::Luksmith::Hooks;
use PVE::Luksmith::Interruption;
use PVE::Luksmith::Native;
use PVE::Luksmith::Starts;

my $FILE = 'attached';

sub attach ($original, @arguments) {
    my ($storecfg, $id, $drive, $options) = @arguments;
    if (!understands($storecfg, $id, $drive, $options)) {
        PVE::Luksmith::Wraps::give_up('Blockdev::attach is called with other arguments');
        return $original->(@arguments);
    }
    my $volume = PVE::Luksmith::Native::volume($storecfg, $drive->{file});
    require_allowed($id, $drive, $options // {}) if !$volume;
    return $original->(@arguments) if !$volume || PVE::Luksmith::Native::is_state($volume);

    if (!PVE::Luksmith::Wraps::is_native() || is_of_tpm($drive, $options)) {
        ensure_exported($volume);
        return $original->(@arguments);
    }

    # two writers of one volume would destroy it: an export that is in use cannot be closed, which is an error
    PVE::Luksmith::Export::close($volume->{base}, $volume->{name});
    die "cannot open volume '$volume->{volid}' in QEMU: its export is in use\n"
        if PVE::Luksmith::Export::is_open($volume->{storeid}, $volume->{name});

    my $in_list = wantarray;
    my $start   = PVE::Luksmith::Starts->new($id =~ m/\A[1-9][0-9]{2,8}\z/ ? $id : $volume->{vmid});
    my $peer    = peer($id, $options);
    my @result  = ();
    my $done    = eval {
        $start->provide({ volume => $volume, file => $FILE });
        add_secret($peer, $volume->{object}, $start->file($FILE));
        @result = PVE::Luksmith::Native::collect({}, { $volume->{volid} => $drive },
            sub { $in_list ? $original->(@arguments) : scalar($original->(@arguments)) });
        1;
    };
    my $error = $@;
    remove_secret($peer, $volume->{object});
    $start->withdraw();
    die $error if !$done;
    return $in_list ? @result : $result[0];
}

sub understands ($storecfg = undef, $id = undef, $drive = undef, $options = undef, @) {
    return
           ref($storecfg) eq 'HASH'
        && ref($storecfg->{ids}) eq 'HASH'
        && ($id // '') =~ m/\A[A-Za-z0-9._-]+\z/
        && ref($drive) eq 'HASH'
        && defined($drive->{file})
        && (!defined($options) || ref($options) eq 'HASH');
}

# A disk that a running guest gets, or is moved to, and that is not ours: whether the guest may have it was asked when it
# started, and would be asked again at its next start only. Dies if it may not.
sub require_allowed ($id, $drive, $options) {
    return if $options->{qsd} || $options->{fleecing} || $options->{'tpm-backup'};
    return if $id !~ m/\A[1-9][0-9]{2,8}\z/ || $drive->{file} =~ m/\A(?:none|cdrom|nbd:.*)\z/;
    my $disk = ($drive->{interface} // '') . ($drive->{index} // '');
    return if $disk !~ m/\A(?:ide|sata|scsi|virtio)[0-9]+\z/;

    my $config = PVE::Luksmith::Hooks::options(PVE::QemuConfig->load_config($id));
    $config->{$disk} = "file=$drive->{file}" . (($drive->{media} // '') eq 'cdrom' ? ',media=cdrom' : '');
    PVE::Luksmith::Engine::bridge({
        op => 'allow', vmid => int($id), config => $config, disk => "$drive->{file}", reason => 'attach'
    });
    return;
}

# The emulator of a TPM has its state open as a file, so a backup of it reads that very file.
sub is_of_tpm ($drive, $options) {
    return ($drive->{interface} // '') eq 'tpmstate' && !$options->{qsd};
}

sub ensure_exported ($volume) {
    return if PVE::Luksmith::Export::is_open($volume->{storeid}, $volume->{name});
    PVE::Luksmith::Export::open($volume->{base}, $volume->{name});
    return;
}

sub peer ($id, $options) {
    return $options->{qsd}
        ? PVE::QemuServer::Monitor::qsd_qmp_peer($id)
        : PVE::QemuServer::Monitor::vm_qmp_peer($id);
}

sub add_secret ($peer, $object, $file) {

    # an attachment that was killed may have left its own
    remove_secret($peer, $object);
    PVE::QemuServer::Monitor::qmp_cmd($peer, 'object-add', 'qom-type' => 'secret', id => $object, file => $file);
    return;
}

# One that is not there is success; whether it could be removed changes nothing for the volume, which is open or not.
sub remove_secret ($peer, $object) {
    local $@;
    eval { PVE::QemuServer::Monitor::qmp_cmd($peer, 'object-del', id => $object, noerr => 1) };
    PVE::Luksmith::Interruption::pass_on($@);
    return;
}

1;
