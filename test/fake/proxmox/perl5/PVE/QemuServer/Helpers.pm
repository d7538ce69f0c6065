package PVE::QemuServer::Helpers;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: where a guest's process keeps its pid file
# and sockets, and whether it runs.

use v5.36;

our $var_run_tmpdir = '/run/qemu-server';

sub qmp_socket ($peer) { return "$var_run_tmpdir/$peer->{id}.$peer->{type}" }

sub vm_pidfile_name ($vmid) { return "$var_run_tmpdir/$vmid.pid" }

sub qsd_pidfile_name ($id) { return "$var_run_tmpdir/qsd-$id.pid" }

sub qsd_fuse_export_path ($id, $name) { return "$var_run_tmpdir/qsd-$id-$name.fuse" }

sub vm_running_locally ($vmid) { return alive(vm_pidfile_name($vmid)) }

sub qsd_running_locally ($id) { return alive(qsd_pidfile_name($id)) }

# Pid of the process that was started with this very pid file.
sub alive ($pidfile) {
    my ($pid) = first_line($pidfile) =~ m/\A([0-9]+)$/ or return;
    return (grep { $_ eq $pidfile } split(/\0/, first_line("/proc/$pid/cmdline"))) ? $pid : undef;
}

sub first_line ($path) {
    open(my $file, '<', $path) or return '';
    my $line = readline($file);
    close($file);
    return $line // '';
}

sub min_version ($version, $major, $minor, @) {
    my ($have_major, $have_minor) = $version =~ m/^([0-9]+)\.([0-9]+)/ or die "no version: $version\n";
    return ($have_major <=> $major || $have_minor <=> $minor) >= 0 ? 1 : 0;
}

1;
