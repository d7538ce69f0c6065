package PVE::Luksmith::Base::Rbd;

# SPDX-License-Identifier: Apache-2.0
# RBD images, which QEMU opens by librbd: no device on the node. A linked clone has the snapshot __base__ of its template
# as parent.

use v5.36;

use JSON ();
use POSIX ();
use PVE::Luksmith::Header;
use PVE::Luksmith::Names;

use parent -norequire, 'PVE::Luksmith::Base';

my $PART = qr/[^@\/:\s-][^@\/:\s]*/;

sub fields ($class, $scfg) {
    my %pattern = (
        pool      => $PART,
        namespace => $PART,
        conf      => qr!/[^\x00-\x1f]*!,
        user      => qr/[^\s-]\S*/,
    );
    return map { $_ => PVE::Luksmith::Base::safe($scfg, "base-$_", $pattern{$_}) }
        grep { defined($scfg->{"base-$_"}) } sort keys %pattern;
}

sub base_json ($self) {
    return { type => 'rbd', map { $_ => $self->{$_} } grep { defined($self->{$_}) } qw(pool namespace conf user) };
}

sub can_snapshot ($self) { return 1 }
sub can_clone ($self)    { return 1 }

sub blockdev ($self, $name, $snap = undef) {
    my $node = { driver => 'rbd', pool => $self->{pool}, image => $name };
    for my $key (qw(namespace conf user)) {
        $node->{$key} = $self->{$key} if defined($self->{$key});
    }
    $node->{snapshot} = $snap if defined($snap);
    return $node;
}

# Nothing to activate: QEMU finds out whether the image is there.
sub activate ($self, $name, $snap = undef) { return }

sub list ($self, $cache) {
    my $list = {};
    for my $row ($self->rbd("cannot list the images of storage '$self->{id}'", 'ls', '-l')->@*) {
        next if defined($row->{snapshot});
        my $name = PVE::Luksmith::Names::on_base_name($row->{image} // '') // next;
        $list->{$name} = { size => PVE::Luksmith::Header::guest_size($row->{size}) };
        my $parent = $row->{parent} // next;
        next if ($parent->{snapshot} // '') ne '__base__' || ($parent->{pool} // $self->{pool}) ne $self->{pool};
        $list->{$name}->{parent} = PVE::Luksmith::Names::on_base_name($parent->{image} // '');
    }
    return $list;
}

sub info ($self, $name, $timeout = undef) {
    local $self->{timeout} = $timeout;
    my $row = $self->rbd("cannot ask about volume '$self->{id}:$name'", 'info', '--image', $name);
    return { size => PVE::Luksmith::Header::guest_size($row->{size}) };
}

sub snapshots ($self, $name) {
    my $found = {};
    for my $row ($self->rbd("cannot list the snapshots of '$self->{id}:$name'", 'snap', 'ls', '--image', $name)->@*) {
        next if $row->{name} eq '__base__';
        my $snap = eval { PVE::Luksmith::Names::snapshot($row->{name}) } // next;
        $found->{$snap} = { id => PVE::Luksmith::Names::number($row->{id}), timestamp => seconds($row->{timestamp}) };
    }
    return $found;
}

# Without replication, as Proxmox VE counts: what may still be written, and what was.
sub status ($self, $cache) {
    my $df = $self->json("cannot ask Ceph about its pools", '/usr/bin/ceph', $self->cluster, 'df');
    my ($pool) = grep { $_->{name} eq $self->{pool} } ($df->{pools} // [])->@* or return;
    my $free = PVE::Luksmith::Names::number($pool->{stats}->{max_avail});
    my $used = PVE::Luksmith::Names::number($pool->{stats}->{stored} // $pool->{stats}->{bytes_used});
    return ($free + $used, $free, $used);
}

# Firmware writes byte by byte into its variables: without librbd's cache that takes minutes.
sub cache_writes ($self, $name) {
    my @set = ('config', 'image', 'set', '--image', $name, 'rbd_cache_policy', 'writeback', $self->place);
    $self->lines(['/usr/bin/rbd', $self->cluster, @set], "cannot set the cache of '$self->{id}:$name'");
    return { direct => JSON::false(), 'no-flush' => JSON::false() };
}

sub rbd ($self, $errmsg, @command) {
    return $self->json($errmsg, '/usr/bin/rbd', $self->cluster, @command, $self->place);
}

sub place ($self) {
    my @place = ('--pool', $self->{pool});
    push @place, '--namespace', $self->{namespace} if defined($self->{namespace});
    return @place;
}

sub cluster ($self) {
    my @options = ();
    push @options, '--conf', $self->{conf} if defined($self->{conf});
    push @options, '--id',   $self->{user} if defined($self->{user});
    return @options;
}

sub json ($self, $errmsg, @command) {
    my @lines = $self->lines([@command, '--format', 'json'], $errmsg, $self->{timeout});
    my $json = eval { JSON->new->utf8->decode(join('', @lines)) };
    die "$errmsg: $command[0] gave no JSON\n" if !ref($json);
    return $json;
}

# rbd prints asctime(3) in local time: "Sun Nov 22 18:42:37 2026".
sub seconds ($text) {
    my %month = map { qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec) [$_] => $_ } 0 .. 11;
    my ($name, $day, $h, $m, $s, $year) = ($text // '') =~ m/\A\w+\s+(\w+)\s+(\d+)\s+(\d+):(\d+):(\d+)\s+(\d+)\z/a
        or return 0;
    return POSIX::mktime($s, $m, $h, $day, $month{$name} // 0, $year - 1900) // 0;
}

1;
