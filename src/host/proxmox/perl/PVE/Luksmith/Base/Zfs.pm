package PVE::Luksmith::Base::Zfs;

# SPDX-License-Identifier: Apache-2.0
# Zvols below one dataset. A linked clone has the snapshot __base__ of its template as origin.

use v5.36;

use PVE::Luksmith::Header;
use PVE::Luksmith::Names;
use PVE::Tools ();
use Time::HiRes ();

use parent -norequire, 'PVE::Luksmith::Base';

# udev makes the link to a zvol's device somewhat later than ZFS the zvol.
my $LINK_TIMEOUT = 30;

sub fields ($class, $scfg) {
    return (dataset => PVE::Luksmith::Base::safe($scfg, 'base-zfs', qr![A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9_.:-]+)*!));
}

sub base_json ($self) { return { type => 'zfs', dataset => $self->{dataset} } }

sub can_snapshot ($self) { return 1 }
sub can_clone ($self)    { return 1 }

# ZFS shows the device of a snapshot only where it was told to.
sub can_read_snapshot ($self) { return 0 }

sub path_of ($self, $name, $snap = undef) {
    my $path = "/dev/zvol/$self->{dataset}/$name";
    return defined($snap) ? "$path\@$snap" : $path;
}

sub blockdev ($self, $name, $snap = undef) {
    return { driver => 'host_device', filename => $self->path_of($name, $snap) };
}

sub activate_base ($self, $cache) {
    $self->dataset_report($cache);
    return;
}

sub activate ($self, $name, $snap = undef) {
    my $path = $self->path_of($name);
    return if -b $path;
    $self->info($name);
    my $end = Time::HiRes::time() + $LINK_TIMEOUT;
    while (!-b $path) {
        die "the device $path of volume '$self->{id}:$name' did not appear\n" if Time::HiRes::time() > $end;
        Time::HiRes::sleep(0.1);
    }
    return;
}

sub list ($self, $cache) {
    my $list = {};
    for my $row ($self->zfs('list', '-t', 'volume', '-d', '1', '-o', 'name,volsize,usedbydataset,creation,origin')) {
        my ($full, $size, $used, $creation, $origin) = split(/\t/, $row);
        my ($last) = $full =~ m!\A\Q$self->{dataset}\E/(.+)\z! or next;
        my $name = PVE::Luksmith::Names::on_base_name($last) // next;
        my $path = $self->path_of($name);
        $list->{$name} = {
            size  => PVE::Luksmith::Header::guest_size($size, -b $path ? $path : undef),
            used  => PVE::Luksmith::Names::number($used),
            ctime => PVE::Luksmith::Names::number($creation),
        };
        my ($parent) = $origin =~ m!\A\Q$self->{dataset}\E/([^/]+)\@__base__\z!;
        $list->{$name}->{parent} = PVE::Luksmith::Names::on_base_name($parent) if defined($parent);
    }
    return $list;
}

sub snapshots ($self, $name) {
    return { map { $_->{name} => { id => $_->{guid}, timestamp => $_->{creation} } } $self->snapshots_by_age($name) };
}

sub newer_snapshots ($self, $name, $snap) {
    my @names = map { $_->{name} } $self->snapshots_by_age($name);
    while (@names) {
        return @names if shift(@names) eq $snap;
    }
    die "volume '$self->{id}:$name' has no snapshot '$snap'\n";
}

sub snapshots_by_age ($self, $name) {
    my @options = ('-t', 'snapshot', '-d', '1', '-s', 'createtxg', '-o', 'name,guid,creation');
    my @found   = ();
    for my $row ($self->zfs_of("$self->{dataset}/$name", 'list', @options)) {
        my ($full, $guid, $creation) = split(/\t/, $row);
        my ($snap) = $full =~ m/@(.+)\z/ or next;
        ($guid, $creation) = map { PVE::Luksmith::Names::number($_) } $guid, $creation;
        push @found, { name => $snap, guid => $guid, creation => $creation } if $snap ne '__base__';
    }
    return @found;
}

sub status ($self, $cache) {
    my ($used, $available) = $self->dataset_report($cache)->@*;
    return ($used + $available, $available, $used);
}

sub dataset_report ($self, $cache) {
    return $cache->{luksmith}->{zfs}->{ $self->{dataset} } //= [
        map { [map { PVE::Luksmith::Names::number($_) } split(/\t/, $_)] }
            $self->zfs('list', '-d', '0', '-o', 'used,available')
    ]->[0];
}

sub zfs ($self, @command) { return $self->zfs_of($self->{dataset}, @command) }

sub zfs_of ($self, $dataset, $command, @options) {
    return $self->lines(['/sbin/zfs', $command, '-Hp', @options, '--', $dataset],
        "cannot ask ZFS about '$dataset'", $self->{timeout});
}

1;
