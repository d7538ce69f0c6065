package PVE::QemuServer::Machine;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract. The QEMU of these tests may be older than
# the machine versions that they pretend to have.

use v5.36;

# By VMID; the latest where nothing is said.
our %pretended;

my $LATEST = '10.0';

sub latest_installed_machine_version (@) { return $LATEST }

sub get_current_qemu_machine ($vmid) { return 'pc-q35-' . ($pretended{$vmid} // $LATEST) }

sub extract_version ($machine, @) { return $machine =~ m/([0-9]+\.[0-9]+)$/ ? $1 : $LATEST }

sub is_machine_version_at_least ($machine, $major, $minor, @) {
    return PVE::QemuServer::Helpers::min_version(extract_version($machine), $major, $minor);
}

1;
