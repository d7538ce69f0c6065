package PVE::Luksmith::Names;

# SPDX-License-Identifier: Apache-2.0
# Names of volumes: `vm-100-disk-0`, of a template `base-100-disk-0`, of a linked clone `base-100-disk-0/vm-101-disk-0`.
# On the base a volume has the last part as its name. What these functions return is untainted.

use v5.36;

use Digest::SHA ();

my $NAME     = qr/(?:vm|base)-[1-9][0-9]{2,8}-[A-Za-z0-9][A-Za-z0-9._-]{0,100}/a;
my $SNAPSHOT = qr/__base__|[A-Za-z][A-Za-z0-9_-]{0,39}/a;

# { name, vmid, base, base_vmid, is_base }, or undef; `base` only of a linked clone.
sub parse ($volname) {
    my ($base, $name) = $volname =~ m!\A(?:(base-[^/]+)/)?([^/]+)\z! or return;
    my ($kind, $vmid) = on_base($name) or return;
    my $parsed = { name => on_base_name($name), vmid => $vmid, is_base => $kind eq 'base' };
    if (defined($base)) {
        (undef, $parsed->{base_vmid}) = on_base($base) or return;
        $parsed->{base} = on_base_name($base);
    }
    return $parsed;
}

# (vm|base, VMID) of a volume's name on its base, or nothing.
sub on_base ($name) {
    return if $name !~ m/\A$NAME\z/;
    return $name =~ m/\A(vm|base)-([0-9]+)-/;
}

sub snapshot ($name) {
    my ($safe) = $name =~ m/\A($SNAPSHOT)\z/ or die "'" . printable($name) . "' is no name of a snapshot\n";
    return $safe;
}

# Of the secret object in QEMU that opens the volume; QEMU allows letters, digits, and few characters else.
sub secret_id ($volid) {
    return 'luksmith-' . substr(Digest::SHA::sha256_hex($volid), 0, 30);
}

sub on_base_name ($name) {
    my ($safe) = $name =~ m/\A($NAME)\z/;
    return $safe;
}

# QEMU's RAM: written and read as a file, never as a disk.
sub is_state ($name) { return $name =~ m/\Avm-[0-9]+-state-/ ? 1 : 0 }

sub is_cloudinit ($name) { return $name =~ m/\Avm-[0-9]+-cloudinit\z/ ? 1 : 0 }

# What a program, a header or a file system said, as a number that may be used: whole, and untainted; 0 for none.
sub number ($text) {
    my ($digits) = ($text // '') =~ m/\A([0-9]+)(?:\.[0-9]*)?\z/;
    return int($digits // 0);
}

# For error texts: a name may hold anything.
sub printable ($name) {
    return $name =~ s/[^\x20-\x7e]/?/gr;
}

1;
