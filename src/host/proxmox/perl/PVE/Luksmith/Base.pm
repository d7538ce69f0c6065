package PVE::Luksmith::Base;

# SPDX-License-Identifier: Apache-2.0
# The storage under a storage of type luksmith, as its section in storage.cfg describes it: where the encrypted volumes
# are, how large they are, and how QEMU opens them. What is asked often is answered here; what changes a volume is the
# engine's. Names are those of the volumes on the base, untainted (PVE::Luksmith::Names).

use v5.36;

use JSON ();
use PVE::Luksmith::Names;
use PVE::Tools ();

use PVE::Luksmith::Base::Directory;
use PVE::Luksmith::Base::Lvm;
use PVE::Luksmith::Base::LvmThin;
use PVE::Luksmith::Base::Rbd;
use PVE::Luksmith::Base::Zfs;

# Seconds for a program that only tells something.
my $PATIENCE = 30;

my @KINDS = (
    ['base-path'     => 'PVE::Luksmith::Base::Directory'],
    ['base-thinpool' => 'PVE::Luksmith::Base::LvmThin'],
    ['base-vg'       => 'PVE::Luksmith::Base::Lvm'],
    ['base-pool'     => 'PVE::Luksmith::Base::Rbd'],
    ['base-zfs'      => 'PVE::Luksmith::Base::Zfs'],
);

# Options that only make sense with another one.
my %NEEDS = (
    'base-thinpool'  => 'base-vg',
    'base-namespace' => 'base-pool',
    'base-conf'      => 'base-pool',
    'base-user'      => 'base-pool',
);

# The base of a section of storage.cfg. Dies if the section does not describe one.
sub of ($scfg, $storeid) {
    my ($id) = $storeid =~ m/\A([A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9])\z/ or die "'$storeid' is no ID of a storage\n";
    check($scfg);
    my ($class) = map { $_->[1] } grep { defined($scfg->{ $_->[0] }) } @KINDS;
    return bless({ id => $id, scfg => $scfg, $class->fields($scfg) }, $class);
}

# Dies if the options do not describe one base.
sub check ($scfg) {
    my @roots = grep { defined($scfg->{$_}) } qw(base-path base-vg base-pool base-zfs);
    die "a storage of type luksmith needs exactly one of base-path, base-vg, base-pool and base-zfs, not "
        . (@roots ? join(' and ', @roots) : 'none') . "\n"
        if @roots != 1;
    for my $option (sort keys %NEEDS) {
        die "$option needs $NEEDS{$option}\n" if defined($scfg->{$option}) && !defined($scfg->{ $NEEDS{$option} });
    }
    return;
}

# -- what all bases share: they are derived from this package

# Untainted values of the section that the base needs, by name.
sub fields ($class, $scfg) { return () }

sub id ($self) { return $self->{id} }

# As in schemas/proxmox/proxmox-storage.schema.json.
sub storage_json ($self) {
    my $json = { id => $self->{id}, base => $self->base_json };
    $json->{profile} = "$self->{scfg}->{'encryption-profile'}" if defined($self->{scfg}->{'encryption-profile'});
    $json->{shared}  = JSON::true if $self->{scfg}->{shared};
    return $json;
}

# Name on the base of a volume of Proxmox VE's.
sub name ($self, $volname) {
    my $parsed = PVE::Luksmith::Names::parse($volname)
        or die "unable to parse volume name '" . PVE::Luksmith::Names::printable($volname) . "'\n";
    return $parsed->{name};
}

# What the storage itself can do.
sub can_snapshot ($self)      { return 0 }
sub can_clone ($self)         { return 0 }
sub can_read_snapshot ($self) { return $self->can_snapshot }

# Whether QEMU may use io_uring on its files and devices, where the kernel has it.
sub has_io_uring ($self) { return 1 }

# Of QEMU's node for a volume that is written in very small pieces; nothing if that needs none of its own.
sub cache_writes ($self, $name) { return }

# Called before the storage is used. Dies if it is not there.
sub activate_base ($self, $cache) { return }

# Makes the volume readable on this node. Dies if it is not there.
sub activate ($self, $name, $snap = undef) { die "not implemented\n" }
sub deactivate ($self, $name, $snap = undef) { return }

# Path of the encrypted volume on this node, if it has one.
sub path_of ($self, $name, $snap = undef) { return }

# { name => { size, used, ctime, parent } } of all volumes, untainted: size in bytes as the guest sees it, parent the
# template of a linked clone. $cache lives for one request of Proxmox VE.
sub list ($self, $cache) { die "not implemented\n" }

# The same of one volume, in so many seconds. Dies if it is not there.
sub info ($self, $name, $timeout = undef) {
    local $self->{timeout} = $timeout;
    return $self->list({})->{$name} // $self->absent($name);
}

# (size, used, ctime)
sub size_info ($self, $name, $timeout = undef) {
    return $self->info($name, $timeout)->@{qw(size used ctime)};
}

# { name => { id, timestamp } }
sub snapshots ($self, $name) { return {} }

# Names of the snapshots that rolling back to this one would destroy.
sub newer_snapshots ($self, $name, $snap) { return () }

# (total, available, used) in bytes, or nothing.
sub status ($self, $cache) { die "not implemented\n" }

sub absent ($self, $name) {
    die "volume '$self->{id}:$name' does not exist\n";
}

# Output of a program in lines, or dies with $errmsg and what it wrote last; bounded, since daemons that serve many wait.
sub lines ($self, $cmd, $errmsg, $timeout = undef) {
    my @lines = ();
    local $ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
    PVE::Tools::run_command(
        $cmd,
        timeout => $timeout || $PATIENCE,
        errmsg  => $errmsg,
        outfunc => sub ($line) { push @lines, $line },
        errfunc => sub { },
    );
    return @lines;
}

# The captured part of a value of the section, so that it may be an argument.
sub safe ($scfg, $option, $pattern) {
    my $value = $scfg->{$option};
    my ($safe) = $value =~ m/\A($pattern)\z/ or die "storage option $option: unusable value\n";
    return $safe;
}

1;
