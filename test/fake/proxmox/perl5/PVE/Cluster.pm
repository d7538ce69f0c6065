package PVE::Cluster;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for Proxmox VE's PVE::Cluster: files of one node below $ROOT instead of the replicated /etc/pve.

use v5.36;

use Exporter qw(import);
use PVE::Tools ();

our @EXPORT_OK = qw(cfs_lock_file cfs_lock_storage cfs_read_file cfs_register_file cfs_write_file);

our ($ROOT) = ($ENV{PVE_STAND_IN_ROOT} // '/nonexistent') =~ m/\A(.*)\z/;
my %parsers;

sub cfs_register_file ($name, $parser, $writer) {
    $parsers{$name} = { parser => $parser, writer => $writer };
    return;
}

sub cfs_read_file ($name) {
    my $path = "$ROOT/$name";
    my $raw  = -e $path ? PVE::Tools::file_get_contents($path) : '';
    return $parsers{$name}->{parser}->($path, $raw);
}

sub cfs_write_file ($name, $data) {
    my $path = "$ROOT/$name";
    PVE::Tools::file_set_contents($path, $parsers{$name}->{writer}->($path, $data));
    return;
}

sub cfs_lock_file ($name, $timeout, $code, @arguments) { return locked($code, @arguments) }

sub cfs_lock_storage ($storeid, $timeout, $code, @arguments) { return locked($code, @arguments) }

# One node: nobody to lock out, but errors are told in $@ as the real ones are.
sub locked ($code, @arguments) {
    my $result = eval { $code->(@arguments) };
    return $result;
}

sub get_vmlist () {
    my $ids = {};
    for my $path (glob("$ROOT/nodes/*/qemu-server/*.conf")) {
        my ($node, $vmid) = $path =~ m!/nodes/([^/]+)/qemu-server/([0-9]+)\.conf\z! or next;
        $ids->{$vmid} = { node => $node, type => 'qemu' };
    }
    return { ids => $ids };
}

1;
