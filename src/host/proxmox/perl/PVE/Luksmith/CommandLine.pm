package PVE::Luksmith::CommandLine;

# SPDX-License-Identifier: Apache-2.0
# Around PVE::QemuServer::config_to_command: the command line opens volumes natively, and gets a secret object for each.

use v5.36;

use PVE::Luksmith::Export;
use PVE::Luksmith::Hooks;
use PVE::Luksmith::InUse;
use PVE::Luksmith::Interruption;
use PVE::Luksmith::Native;
use PVE::Luksmith::Starts;

my $DISK = qr/\A(?:ide|sata|scsi|virtio|efidisk|tpmstate)[0-9]+\z/;

sub config_to_command ($original, @arguments) {
    my $in_list = wantarray;
    my $call    = sub { $in_list ? $original->(@arguments) : scalar($original->(@arguments)) };
    my ($storecfg, $vmid, $conf, undef, $options) = @arguments;

    # `qm showcmd` alone wants nothing but the command line: it starts nothing, so it needs no passphrase
    my $is_shown = !$in_list || (ref($options) eq 'HASH' && $options->{'dry-run'});

    my @result;
    my $done = eval {
        PVE::Luksmith::Wraps::give_up('config_to_command is called with other arguments')
            if PVE::Luksmith::Wraps::is_native() && !understands($storecfg, $vmid, $conf, $options);
        require_admission($vmid, $conf)                               if !$is_shown;
        @result = native($call, $is_shown, $storecfg, $vmid, $conf)   if PVE::Luksmith::Wraps::is_native();
        @result = exported($call, $is_shown, $storecfg, $vmid, $conf) if !PVE::Luksmith::Wraps::is_native();
        1;
    };
    if (!$done) {
        my $error = $@;
        PVE::Luksmith::Starts::withdraw_failed($vmid // '');
        die $error;
    }
    return $in_list ? @result : $result[0];
}

# Policy is the hook's, which has begun a start if it was called. Where Proxmox VE calls it no more, it is asked here; in
# time, since QEMU does not run yet.
sub require_admission ($vmid, $conf) {
    return if PVE::Luksmith::Starts->of($vmid // '');
    die "luksmith cannot find out which guest starts, and whether it may: this version of Proxmox VE is unknown to it\n"
        if !is_guest($vmid, $conf);
    PVE::Luksmith::Wraps::warn_once("Proxmox VE did not announce the start of VM $vmid (exec_hookscript)");
    PVE::Luksmith::Hooks::admit($conf, $vmid);
    return;
}

# Gives up if what comes back is no command line.
sub native ($call, $is_shown, $storecfg, $vmid, $conf) {
    my %opened;
    my @result = PVE::Luksmith::Native::collect(\%opened, drives($conf), $call);
    if (!is_command($result[0])) {
        PVE::Luksmith::Wraps::give_up('config_to_command returns something else than the arguments of a program');
    } elsif ($is_shown) {
        show_secrets($result[0], $vmid, disks($conf, \%opened));
        close_exports($vmid, volumes($storecfg, $conf));
    } else {
        my $used  = ref($result[3]) eq 'HASH' ? $result[3] : $conf;
        my $start = PVE::Luksmith::Starts->of($vmid);
        $start->keep_with($used);
        add_secrets($result[0], $start, disks($used, \%opened));
        open_exports(named($result[0], $storecfg, $used));
    }
    return @result;
}

# Opened as files; those that were closed because it looked otherwise are opened again.
sub exported ($call, $is_shown, $storecfg, $vmid, $conf) {
    my @result = $call->();
    return @result if ref($result[0]) ne 'ARRAY' || ref($conf) ne 'HASH';
    if ($is_shown) {
        close_exports($vmid, volumes($storecfg, $conf));
    } elsif (my @named = named($result[0], $storecfg, $conf)) {
        PVE::Luksmith::Wraps::explain_exports();
        open_exports(@named);
    }
    return @result;
}

sub understands ($storecfg, $vmid, $conf, $options) {
    return
           ref($storecfg) eq 'HASH'
        && ref($storecfg->{ids}) eq 'HASH'
        && is_guest($vmid, $conf)
        && (!defined($options) || ref($options) eq 'HASH');
}

sub is_guest ($vmid, $conf) {
    return ref($conf) eq 'HASH' && ($vmid // '') =~ m/\A[1-9][0-9]{2,8}\z/;
}

sub is_command ($command) {
    return ref($command) eq 'ARRAY' && !grep { !defined || ref } $command->@*;
}

# For each volume the name that the guest has for the disk; the name of its secret object if it has none.
sub disks ($conf, $opened) {
    my %disk;
    $disk{ volid($conf->{$_}) } //= $_ for sort grep { $_ =~ $DISK } keys $conf->%*;
    return map { { volume => $opened->{$_}, file => $disk{$_} // $opened->{$_}->{object} } } sort keys $opened->%*;
}

sub show_secrets ($command, $vmid, @disks) {
    for my $disk (@disks) {
        push $command->@*, secret($disk, "$PVE::Luksmith::Paths::RUN/vm/$vmid/START/$disk->{file}");
    }
    return;
}

# The hook of pre-start has provided the disks that it saw in the configuration.
sub add_secrets ($command, $start, @disks) {
    $start->provide(grep { !-e $start->file($_->{file}) } @disks);
    for my $disk (@disks) {
        push $command->@*, secret($disk, $start->file($disk->{file}));
        $start->remember($disk->{volume}->{object});
    }
    return;
}

sub secret ($disk, $path) {
    return ('-object', "secret,id=$disk->{volume}->{object},file=$path");
}

# Volumes of ours that the command line names by the path of their export: guests with a machine version before 10.0
# have -drive instead of -blockdev, and RAM is read from a file.
sub named ($command, $storecfg, $conf) {
    my @named = ();
    for my $volume (volumes($storecfg, $conf)) {
        my $path = PVE::Luksmith::Export::path($volume->{storeid}, $volume->{name});
        push @named, $volume if grep { !ref && index($_, $path) >= 0 } $command->@*;
    }
    return @named;
}

# Those of the guest that lie on storages of ours.
sub volumes ($storecfg, $conf) {
    return map { PVE::Luksmith::Native::volume($storecfg, volid($conf->{$_})) // () }
        grep { $_ eq 'vmstate' || $_ =~ $DISK } sort keys $conf->%*;
}

# Options of the drives, by volume ID.
sub drives ($conf) {
    my %drives;
    for my $key (grep { $_ =~ $DISK } keys $conf->%*) {
        my (undef, @options) = split(/,/, $conf->{$key} // '');
        $drives{ volid($conf->{$key}) } = { map { m/\A([a-z_]+)=(.*)\z/ ? ($1 => $2) : () } @options };
    }
    return \%drives;
}

# Of a drive as the configuration describes it; '' of none.
sub volid ($drive) {
    my ($first) = split(/,/, $drive // '');
    return ($first // '') =~ s/\Afile=//r;
}

# `qm showcmd` has activated the volumes of a guest that does not run, and leaves them so. Those that somebody uses stay.
sub close_exports ($vmid, @volumes) {
    return if PVE::Luksmith::InUse::running($vmid);
    for my $volume (@volumes) {
        next if eval { PVE::Luksmith::Export::close($volume->{base}, $volume->{name}); 1 };
        PVE::Luksmith::Interruption::pass_on($@);
    }
    return;
}

sub open_exports (@volumes) {
    for my $volume (@volumes) {
        next if PVE::Luksmith::Export::is_open($volume->{storeid}, $volume->{name});
        PVE::Luksmith::Export::open($volume->{base}, $volume->{name});
    }
    return;
}

1;
