package PVE::Luksmith::Base::Directory;

# SPDX-License-Identifier: Apache-2.0
# One file NAME.luks for each volume. What else lies in the directory is neither listed nor followed.

use v5.36;

use File::Path ();
use PVE::Luksmith::Header;
use PVE::Luksmith::Names;
use PVE::Tools ();

use parent -norequire, 'PVE::Luksmith::Base';

# A network file system that hangs must not hang the daemons.
my $TIMEOUT = 2;

sub fields ($class, $scfg) {
    return (path => PVE::Luksmith::Base::safe($scfg, 'base-path', qr!/[^\x00-\x1f]*!));
}

sub base_json ($self) { return { type => 'directory', path => $self->{path} } }

# A directory of its own on each node is made; one that the nodes share must be mounted first.
sub activate_base ($self, $cache) {
    my $path = $self->{path};
    my $there = PVE::Tools::run_fork_with_timeout($TIMEOUT, sub { return -d $path ? 1 : 0 });
    die "the directory $path of storage '$self->{id}' does not answer\n" if !defined($there);
    return if $there;
    die "the directory $path of storage '$self->{id}' does not exist on this node (mount it, or make it)\n"
        if $self->{scfg}->{shared};
    $self->make;
    return;
}

sub make ($self) {
    File::Path::make_path($self->{path}, { mode => oct('0700'), error => \my $errors });
    die "cannot make the directory $self->{path} of storage '$self->{id}': " . join(', ', map { values $_->%* } @$errors)
        . "\n"
        if @$errors;
    return;
}

sub path_of ($self, $name, $snap = undef) {
    die "a directory has no snapshots of its volumes\n" if defined($snap);
    return "$self->{path}/$name.luks";
}

# Proxmox VE builds QEMU without locks of its images by default. They keep a second writer away.
sub blockdev ($self, $name, $snap = undef) {
    return { driver => 'file', filename => $self->path_of($name, $snap), locking => 'on' };
}

sub activate ($self, $name, $snap = undef) {
    $self->info($name);
    return;
}

sub list ($self, $cache) {
    opendir(my $dh, $self->{path}) or die "cannot read the directory $self->{path}: $!\n";
    my @files = readdir($dh);
    closedir($dh);

    my $list = {};
    for my $file (@files) {
        my ($entry) = $file =~ m/\A(.+)\.luks\z/ or next;
        my $name = PVE::Luksmith::Names::on_base_name($entry) // next;
        my $info = $self->look($name)                         // next;
        $list->{$name} = $info;
    }
    return $list;
}

sub info ($self, $name, $timeout = undef) {
    return $self->look($name) // $self->absent($name) if !$timeout;

    # a network file system that hangs takes only a forked process with it
    my @fields = qw(size used ctime);
    my $found  = PVE::Tools::run_fork_with_timeout($timeout,
        sub { return join(' ', grep { defined } ($self->look($name) // {})->@{@fields}) })
        // die "the directory $self->{path} of storage '$self->{id}' does not answer\n";
    my %info;
    @info{@fields} = map { PVE::Luksmith::Names::number($_) } split(/ /, $found);
    return defined($info{ctime}) ? \%info : $self->absent($name);
}

# undef if it is not there, or not a regular file.
sub look ($self, $name) {
    my $path = $self->path_of($name);
    my @stat = lstat($path) or return;
    return if !-f _;
    return {
        size  => PVE::Luksmith::Header::guest_size($stat[7], $path),
        used  => PVE::Luksmith::Names::number($stat[12] * 512),
        ctime => PVE::Luksmith::Names::number($stat[10]),
    };
}

sub status ($self, $cache) {
    my $df = PVE::Tools::df($self->{path}, $TIMEOUT);
    return if !$df || !$df->{total};
    return map { PVE::Luksmith::Names::number($_) } $df->@{qw(total avail used)};
}

1;
