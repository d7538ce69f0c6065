package PVE::QemuConfig;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: configurations of guests, from memory.

use v5.36;

use PVE::QemuServer::Drive;

# By VMID; tests fill it.
our %configurations;

sub load_config ($class, $vmid, @) {
    my $conf = $configurations{$vmid} // die "Configuration file 'nodes/here/qemu-server/$vmid.conf' does not exist\n";
    return { $conf->%*, digest => 'd' x 40, pending => {}, snapshots => {}, 'special-sections' => {} };
}

sub lock_config ($class, $vmid, $code, @arguments) { return $code->(@arguments) }

sub is_template ($class, $conf) { return $conf->{template} ? 1 : undef }

sub foreach_volume ($class, $conf, $function) { return $class->foreach_volume_full($conf, {}, $function) }

sub foreach_volume_full ($class, $conf, $options, $function) {
    for my $key (grep { defined($conf->{$_}) } PVE::QemuServer::Drive::valid_drive_names()) {
        $function->($key, PVE::QemuServer::Drive::parse_drive($key, $conf->{$key}));
    }
    for my $key (grep { defined($conf->{$_}) } ($options->{extra_keys} // [])->@*) {
        $function->($key, { file => $conf->{$key} });
    }
    return;
}

1;
