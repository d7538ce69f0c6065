package PVE::QemuServer;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: how a guest starts, runs, gets and loses
# disks, and stops, with the calls of the storage layer and of the hookscript in the order of the real one. The command
# line that it builds starts a real QEMU, without a guest in it.

use v5.36;

use JSON ();
use POSIX ();
use PVE::GuestHelpers;
use PVE::QemuConfig;
use PVE::QemuServer::Blockdev;
use PVE::QemuServer::Drive;
use PVE::QemuServer::Helpers;
use PVE::QemuServer::Machine;
use PVE::QemuServer::Monitor qw(mon_cmd vm_qmp_peer);
use PVE::QemuServer::QSD;
use PVE::Storage;
use PVE::Tools ();
use Time::HiRes qw(sleep);

our $BINARY = '/usr/bin/qemu-system-x86_64';

sub get_current_vm_volumes ($storecfg, $conf) {
    my @volumes;
    PVE::QemuConfig->foreach_volume_full($conf, { extra_keys => ['vmstate'] }, sub ($key, $drive) {
        push @volumes, $drive->{file} if PVE::Storage::parse_volume_id($drive->{file}, 1);
    });
    return \@volumes;
}

sub config_to_command ($storecfg, $vmid, $conf, $defaults, $options) {
    my $is_template = PVE::QemuConfig->is_template($conf);
    if ($is_template) {
        my %disks = map { ($_ => $conf->{$_}) } grep { $conf->{$_} } PVE::QemuServer::Drive::valid_drive_names();
        $conf = { template => 1, name => $conf->{name}, %disks };
    }
    my $machine   = $options->{'force-machine'} // $conf->{machine} // 'pc-q35-10.0';
    my $blockdevs = PVE::QemuServer::Machine::is_machine_version_at_least($machine, 10, 0);
    my $monitor   = PVE::QemuServer::Helpers::qmp_socket(vm_qmp_peer($vmid));
    my @command   = (
        $BINARY, '-nodefaults', '-display', 'none', '-m', '32', '-S', '-daemonize', '-machine', 'q35,accel=tcg',
        '-chardev', "socket,id=qmp,path=$monitor,server=on,wait=off", '-mon', 'chardev=qmp,mode=control',
        '-pidfile', PVE::QemuServer::Helpers::vm_pidfile_name($vmid), '-device', 'virtio-scsi-pci,id=scsihw0',
    );
    PVE::QemuConfig->foreach_volume($conf, sub ($key, $drive) {
        return if $drive->{interface} eq 'tpmstate' || $drive->{file} eq 'none';
        if (!$blockdevs) {
            my $path = $drive->{file} =~ m{^/} ? $drive->{file} : PVE::Storage::path($storecfg, $drive->{file});
            push @command, '-drive', "file=$path,if=none,id=drive-$key,format=raw,cache=none";
        } else {
            my %extra = $is_template ? ('read-only' => 1) : ();
            $extra{size} = 528 * 1024 if $key eq 'efidisk0';
            my $node = PVE::QemuServer::Blockdev::generate_drive_blockdev($storecfg, $drive, $machine, \%extra);
            my $json = JSON->new->canonical;
            push @command, '-object', $json->encode(PVE::QemuServer::Blockdev::generate_throttle_group($drive));
            push @command, '-blockdev', $json->encode($node);
        }
        push @command, '-device', device($key, $drive) if $key ne 'efidisk0';
    });
    push @command, '-loadstate', PVE::Storage::path($storecfg, $conf->{vmstate}) if $conf->{vmstate};
    push @command, split(/ /, $conf->{args}) if $conf->{args};
    return wantarray ? (\@command, undef, {}, $conf) : \@command;
}

sub device ($key, $drive) {
    return "virtio-blk-pci,drive=drive-$key,id=$key" if $drive->{interface} eq 'virtio';
    my $type = PVE::QemuServer::Drive::drive_is_cdrom($drive) ? 'scsi-cd' : 'scsi-hd';
    return "$type,bus=scsihw0.0,drive=drive-$key,id=$key";
}

sub vm_start ($storecfg, $vmid, $params = {}, $migrate_opts = {}) {
    return PVE::QemuConfig->lock_config($vmid, sub {
        my $conf = PVE::QemuConfig->load_config($vmid, $migrate_opts->{migratedfrom});
        die "you can't start a vm if it's a template\n"
            if !$params->{skiptemplate} && PVE::QemuConfig->is_template($conf);
        die "VM $vmid already running\n" if PVE::QemuServer::Helpers::vm_running_locally($vmid);
        return vm_start_nolock($storecfg, $vmid, $conf, $params, $migrate_opts);
    });
}

sub vm_start_nolock ($storecfg, $vmid, $conf, $params, $migrate_opts) {
    my $statefile = $params->{statefile} // '';
    local $ENV{PVE_MIGRATED_FROM} = $migrate_opts->{migratedfrom} // '';
    $conf = { $conf->%* } if $params->{reload};

    PVE::GuestHelpers::exec_hookscript($conf, $vmid, 'pre-start', 1);

    die "no such state file '$statefile'\n" if $statefile && $statefile ne 'defer';
    my $volumes = get_current_vm_volumes($storecfg, $conf);
    my $command;
    my $built = eval {
        PVE::Storage::activate_volumes($storecfg, $volumes, undef, { 'plugin-may-deactivate-volume' => 1 });
        ($command, undef, undef, $conf) =
            config_to_command($storecfg, $vmid, $conf, {}, { 'force-machine' => $params->{forcemachine} });
        push $command->@*, '-incoming', 'defer' if $statefile;
        1;
    };
    if (!$built) {
        my $error = $@;
        eval { PVE::Storage::deactivate_volumes($storecfg, $volumes); 1 } or warn $@;
        die $error;
    }
    die "timeout waiting on systemd\n" if $params->{'scope-timeout'};

    my $failed = in_child(sub {
        start_tpm($storecfg, $vmid, $conf) if $conf->{tpmstate0};
        my $code = PVE::Tools::run_command($command, noerr => 1);
        die "QEMU exited with code $code\n" if $code;
    });
    if ($failed) {
        eval { PVE::Storage::deactivate_volumes($storecfg, $volumes); 1 } or warn $@;
        die "start failed: $failed";
    }
    mon_cmd($vmid, 'migrate-incoming', uri => $params->{uri}) if $statefile;

    PVE::GuestHelpers::exec_hookscript($conf, $vmid, 'post-start');
    return {};
}

# Returns the error of the child, or nothing.
sub in_child ($code) {
    pipe(my $reader, my $writer) or die "pipe: $!\n";
    my $pid = fork() // die "fork: $!\n";
    if (!$pid) {
        close($reader);
        syswrite($writer, $@) if !eval { $code->(); 1 };
        POSIX::_exit(0);
    }
    close($writer);
    my $error = do { local $/; readline($reader) };
    waitpid($pid, 0);
    return $error;
}

# No emulator is started; only the way of its state is of interest. A storage that is told to be without paths has it
# through a storage daemon.
sub start_tpm ($storecfg, $vmid, $conf) {
    my $drive = PVE::QemuServer::Drive::parse_drive('tpmstate0', $conf->{tpmstate0});
    if ($drive->{qsd}) {
        PVE::QemuServer::QSD::start($vmid);
        PVE::QemuServer::QSD::add_fuse_export($vmid, $drive, 'tpmstate0');
    } else {
        PVE::Storage::map_volume($storecfg, $drive->{file});
    }
    return;
}

sub vm_commandline ($storecfg, $vmid) {
    my $conf = PVE::QemuConfig->load_config($vmid);
    PVE::Storage::activate_volumes($storecfg, get_current_vm_volumes($storecfg, $conf))
        if !PVE::QemuServer::Helpers::vm_running_locally($vmid);
    my $command = config_to_command($storecfg, $vmid, $conf, {}, { 'dry-run' => 1 });
    return join(' ', $command->@*);
}

sub vm_deviceplug ($storecfg, $conf, $vmid, $deviceid, $drive) {
    PVE::Storage::activate_volumes($storecfg, [$drive->{file}]);
    PVE::QemuServer::Blockdev::attach($storecfg, $vmid, $drive, {});
    my ($driver, @rest) = split(/,/, device($deviceid, $drive));
    return if eval { mon_cmd($vmid, 'device_add', driver => $driver, map { split(/=/, $_, 2) } @rest); 1 };
    my $error = $@;
    PVE::QemuServer::Blockdev::detach(vm_qmp_peer($vmid), "drive-$deviceid");
    die $error;
}

# A SCSI device goes without the guest's leave.
sub vm_deviceunplug ($vmid, $conf, $deviceid) {
    mon_cmd($vmid, 'device_del', id => $deviceid);
    for (1 .. 100) {
        return if eval { PVE::QemuServer::Blockdev::detach(vm_qmp_peer($vmid), "drive-$deviceid"); 1 };
        die $@ if $@ !~ m/in use/;
        sleep(0.05);
    }
    die "device '$deviceid' does not go\n";
}

sub vm_stop ($storecfg, $vmid) {
    my $conf = PVE::QemuConfig->load_config($vmid);
    if (PVE::QemuServer::Helpers::vm_running_locally($vmid)) {
        PVE::GuestHelpers::exec_hookscript($conf, $vmid, 'pre-stop');
        eval { mon_cmd($vmid, 'quit') };
        while (PVE::QemuServer::Helpers::vm_running_locally($vmid)) { sleep(0.02) }
    }
    return vm_stop_cleanup($storecfg, $vmid, $conf);
}

sub vm_stop_cleanup ($storecfg, $vmid, $conf) {
    eval {
        PVE::QemuServer::QSD::quit($vmid);
        PVE::Storage::deactivate_volumes($storecfg, get_current_vm_volumes($storecfg, $conf));
        unlink(PVE::QemuServer::Helpers::vm_pidfile_name($vmid), PVE::QemuServer::Helpers::qmp_socket(vm_qmp_peer($vmid)));
        1;
    } or warn $@;
    PVE::GuestHelpers::exec_hookscript($conf, $vmid, 'post-stop');
    return;
}

1;
