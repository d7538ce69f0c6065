package PVE::Luksmith::Base::Lvm;

# SPDX-License-Identifier: Apache-2.0
# One logical volume for each volume, with its name. All that is asked of LVM for a listing is one `lvs`.

use v5.36;

use JSON ();
use PVE::Luksmith::Header;
use PVE::Luksmith::Names;

use parent -norequire, 'PVE::Luksmith::Base';

my $LVM_NAME = qr/[A-Za-z0-9+_.][A-Za-z0-9+_.-]*/;
my @REPORT   = ('--reportformat', 'json', '--units', 'b', '--nosuffix');

sub fields ($class, $scfg) {
    return (vg => PVE::Luksmith::Base::safe($scfg, 'base-vg', $LVM_NAME));
}

sub base_json ($self) { return { type => 'lvm', vg => $self->{vg} } }

sub lv ($self, $name, $snap = undef) {
    die "LVM has snapshots only in thin pools\n" if defined($snap);
    return $name;
}

sub path_of ($self, $name, $snap = undef) {
    return "/dev/$self->{vg}/" . $self->lv($name, $snap);
}

sub blockdev ($self, $name, $snap = undef) {
    return { driver => 'host_device', filename => $self->path_of($name, $snap) };
}

sub activate_base ($self, $cache) {
    $self->vg_report($cache);
    return;
}

# -K: snapshots and templates are left out of ordinary activation.
sub activate ($self, $name, $snap = undef) {
    my $lv = "$self->{vg}/" . $self->lv($name, $snap);
    $self->lines(['/sbin/lvchange', '-aly', '-K', '--', $lv], "can't activate LV '$lv'");
    return if !$self->may_grow_elsewhere;
    $self->lines(['/sbin/lvchange', '--refresh', '--', $lv], "can't refresh LV '$lv'");
    return;
}

# Another node of a shared volume group may have enlarged it while it was active here.
sub may_grow_elsewhere ($self) { return 1 }

sub deactivate ($self, $name, $snap = undef) {
    return if !-b $self->path_of($name, $snap);
    my $lv = "$self->{vg}/" . $self->lv($name, $snap);
    $self->lines(['/sbin/lvchange', '-aln', '--', $lv], "can't deactivate LV '$lv'");
    return;
}

sub list ($self, $cache) {
    my $list = {};
    for my $row ($self->rows($cache)->@*) {
        my $name = PVE::Luksmith::Names::on_base_name($row->{lv_name} // '') // next;
        next if !$self->is_volume($row);
        $list->{$name} = $self->volume($name, $row);
    }
    return $list;
}

# Thick volumes, without the parts of RAID, caches and thin pools.
sub is_volume ($self, $row) { return $row->{lv_attr} =~ m/\A[-rm]/ ? 1 : 0 }

sub volume ($self, $name, $row) {
    my $active = $row->{lv_attr} =~ m/\A....a/;
    return {
        size  => PVE::Luksmith::Header::guest_size($row->{lv_size}, $active ? $self->path_of($name) : undef),
        used  => PVE::Luksmith::Names::number($row->{lv_size}),
        ctime => PVE::Luksmith::Names::number($row->{lv_time}) || undef,
    };
}

sub status ($self, $cache) {
    my $vg = $self->vg_report($cache);
    my ($size, $free) = map { PVE::Luksmith::Names::number($_) } $vg->@{qw(vg_size vg_free)};
    return ($size, $free, $size - $free);
}

sub rows ($self, $cache) {
    return $cache->{luksmith}->{lvs}->{ $self->{vg} } //= $self->lvs($self->{vg});
}

# LVM reads one volume much faster than all of them.
sub info ($self, $name, $timeout = undef) {
    my $lv   = "$self->{vg}/$name";
    my $rows = eval { $self->lvs($lv, $timeout) };
    $self->absent($name) if $@ =~ m/Failed to find logical volume/;
    die $@ if !$rows;
    my ($row) = grep { $self->is_volume($_) } $rows->@*;
    return $row ? $self->volume($name, $row) : $self->absent($name);
}

sub lvs ($self, $of, $timeout = undef) {
    return $self->report(
        'lv', $of, $timeout, '/sbin/lvs',
        '--config' => 'report/time_format="%s"',
        '-o' => 'lv_name,lv_size,lv_attr,lv_time,pool_lv,origin,data_percent,lv_tags',
    );
}

sub vg_report ($self, $cache) {
    return $cache->{luksmith}->{vgs}->{ $self->{vg} } //=
        $self->report('vg', $self->{vg}, undef, '/sbin/vgs', '-o' => 'vg_name,vg_size,vg_free')->[0];
}

sub report ($self, $what, $of, $timeout, $program, @options) {
    my @lines = $self->lines([$program, @REPORT, @options, '--', $of],
        "cannot ask LVM about volume group '$self->{vg}'", $timeout);
    my $report = eval { JSON->new->utf8->decode(join('', @lines))->{report}->[0]->{$what} };
    die "$program gave no report about volume group '$self->{vg}'\n" if ref($report) ne 'ARRAY';
    return $report;
}

# With io_uring below LUKS, thick logical volumes hang at times, as Proxmox VE has found.
sub has_io_uring ($self) { return 0 }

1;
