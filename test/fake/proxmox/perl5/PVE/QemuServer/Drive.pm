package PVE::QemuServer::Drive;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: drives as a guest's configuration has them.

use v5.36;

use parent 'Exporter';

our @EXPORT_OK = qw(drive_is_cdrom is_valid_drivename parse_drive);

sub valid_drive_names () {
    return (
        (map { "ide$_" } 0 .. 3), (map { "scsi$_" } 0 .. 30), (map { "virtio$_" } 0 .. 15),
        (map { "sata$_" } 0 .. 5), 'efidisk0', 'tpmstate0',
    );
}

sub is_valid_drivename ($name) { return scalar(grep { $_ eq $name } valid_drive_names()) }

sub parse_drive ($key, $text) {
    my ($interface, $index) = $key =~ m/^([a-z]+)([0-9]+)$/ or return;
    my ($file, @options) = split(/,/, $text);
    return {
        interface => $interface,
        index     => $index,
        file      => $file =~ s/^file=//r,
        map { split(/=/, $_, 2) } @options,
    };
}

sub get_drive_id ($drive) { return "$drive->{interface}$drive->{index}" }

sub drive_is_cdrom ($drive, @) { return ($drive->{media} // '') eq 'cdrom' }

1;
