package PVE::Luksmith::Base::LvmThin;

# SPDX-License-Identifier: Apache-2.0
# Thin volumes of one pool. A snapshot is the thin volume snap_NAME_SNAP; a linked clone has its template as origin.

use v5.36;

use PVE::Luksmith::Names;

use parent -norequire, 'PVE::Luksmith::Base::Lvm';

sub fields ($class, $scfg) {
    return (
        $class->SUPER::fields($scfg),
        thinpool => PVE::Luksmith::Base::safe($scfg, 'base-thinpool', qr/[A-Za-z0-9+_.][A-Za-z0-9+_.-]*/),
    );
}

sub base_json ($self) {
    return { type => 'lvm-thin', vg => $self->{vg}, thinpool => $self->{thinpool} };
}

sub can_snapshot ($self) { return 1 }
sub can_clone ($self)    { return 1 }

# Only one node uses a thin pool.
sub may_grow_elsewhere ($self) { return 0 }

sub lv ($self, $name, $snap = undef) {
    return defined($snap) ? "snap_${name}_$snap" : $name;
}

# A volume that is not needed stays active, as Proxmox VE's own thin volumes do; snapshots and templates do not.
sub deactivate ($self, $name, $snap = undef) {
    return if !defined($snap) && $name !~ m/\Abase-/;
    return $self->SUPER::deactivate($name, $snap);
}

sub is_volume ($self, $row) {
    return $row->{lv_attr} =~ m/\AV/ && $row->{pool_lv} eq $self->{thinpool} ? 1 : 0;
}

sub has_io_uring ($self) { return 1 }

sub volume ($self, $name, $row) {
    my $info = $self->SUPER::volume($name, $row);
    $info->{used} = share($row);

    # a clone that was rolled back has its snapshot as origin; the engine tags what is a clone
    my ($template) = map { m/\Aluksmith\.template=(.+)\z/ ? $1 : () } split(/,/, $row->{lv_tags} // '');
    my $parent     = PVE::Luksmith::Names::on_base_name($template // $row->{origin} // '') // '';
    $info->{parent} = $parent if $parent =~ m/\Abase-/;
    return $info;
}

# Bytes of a thin volume or pool that are used.
sub share ($row) {
    my $percent = ($row->{data_percent} // '') =~ m/\A([0-9]+(?:\.[0-9]+)?)\z/ ? $1 : 0;
    return int(PVE::Luksmith::Names::number($row->{lv_size}) * $percent / 100);
}

# Volumes have underscores in their names too: a snapshot belongs to the volume with the longest name that fits.
sub snapshots ($self, $name) {
    my %row    = map { $_->{lv_name} => $_ } grep { $self->is_volume($_) } $self->rows({})->@*;
    my $prefix = $self->lv($name, '');
    my @longer = map { $self->lv($_, '') } grep { m/\A\Q$name\E_/ } keys %row;
    my $found  = {};
    for my $lv (grep { m/\A\Q$prefix\E/ } keys %row) {
        next if grep { $lv =~ m/\A\Q$_\E/ } @longer;
        my $snap = eval { PVE::Luksmith::Names::snapshot(substr($lv, length($prefix))) } // next;
        $found->{$snap} = { timestamp => PVE::Luksmith::Names::number($row{$lv}->{lv_time}) };
    }
    return $found;
}

sub status ($self, $cache) {
    my ($pool) = grep { $_->{lv_name} eq $self->{thinpool} && $_->{lv_attr} =~ m/\At/ } $self->rows($cache)->@*;
    return if !$pool;
    my $total = PVE::Luksmith::Names::number($pool->{lv_size});
    my $used  = share($pool);
    return ($total, $total - $used, $used);
}

1;
