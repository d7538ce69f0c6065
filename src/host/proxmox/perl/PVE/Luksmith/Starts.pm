package PVE::Luksmith::Starts;

# SPDX-License-Identifier: Apache-2.0
# One start of a guest, or one attachment of disks to a running one: a directory of host secrets,
# /run/luksmith/vm/VMID/PID-STARTTIME-NUMBER, which the engine makes and fills. Named after the process that starts the
# guest, so that what a killed process left behind is known as litter.
#
# A start is withdrawn when the guest runs, when the start failed, and at the latest when the process forgets the
# configuration that it started the guest with: Proxmox VE calls nobody on some of its ways out of a failed start.

use v5.36;

use Hash::Util::FieldHash qw(fieldhash);
use PVE::Luksmith::Engine;
use PVE::Luksmith::Paths;
use PVE::Luksmith::Secrets;
use Scalar::Util qw(weaken);

my $STARTTIME = 19;    # field 22 of proc_pid_stat(5), counted from the third, which follows the program's name
my $number    = 0;
my %current;           # by VMID; weak
fieldhash my %kept;    # by configuration, gone with it

# A start that ends with the object.
sub new ($class, $vmid) {
    my ($safe) = $vmid =~ m/\A([1-9][0-9]{2,8})\z/ or die "'$vmid' is not a VMID\n";
    my $name = join('-', $$, start_time(), ++$number);
    return bless({ vmid => $safe, name => $name, pid => $$, objects => [] }, $class);
}

# The start of a guest by this process, until it is withdrawn or $conf is forgotten. An earlier start of the guest by
# this process is over.
sub begin ($class, $vmid, $conf) {
    withdraw_failed($vmid);
    my $start = $class->new($vmid);
    $kept{$conf} = $start;
    weaken($current{$vmid} = $start);
    return $start;
}

# The start of the guest that this very process has begun, not the one that forked it; or nothing.
sub of ($class, $vmid) {
    my $start = $current{$vmid} // return;
    return $start->{pid} == $$ ? $start : undef;
}

# For deactivate_volume, which Proxmox VE calls after a failed start; nothing to do at any other time.
sub withdraw_failed ($vmid, @) {
    my $start = __PACKAGE__->of($vmid) // return;
    $start->withdraw();
    return;
}

sub name ($self) { return $self->{name} }

sub directory ($self) {
    return "$PVE::Luksmith::Paths::RUN/vm/$self->{vmid}/$self->{name}";
}

sub file ($self, $disk) {
    return $self->directory() . "/$disk";
}

# Has the engine write the passphrase of each volume (as PVE::Luksmith::Native describes it) into a file, all or nothing.
sub provide ($self, @disks) {
    return if !@disks;
    PVE::Luksmith::Engine::bridge({
        op      => 'provide',
        vmid    => int($self->{vmid}),
        start   => $self->{name},
        volumes => [map { request($_) } @disks],
    });
    return;
}

sub request ($disk) {
    my $volume = $disk->{volume};
    return { storage => $volume->{base}->storage_json, volume => $volume->{name}, file => $disk->{file} };
}

# Proxmox VE replaces the configuration of a template while it starts it.
sub keep_with ($self, $conf) {
    $kept{$conf} = $self;
    return;
}

# Secret objects that QEMU gets on its command line.
sub remember ($self, @ids) {
    push $self->{objects}->@*, @ids;
    return;
}

sub objects ($self) { return $self->{objects}->@* }

# Idempotent.
sub withdraw ($self) {
    my @left = PVE::Luksmith::Secrets::erase_directory($self->directory());
    warn "luksmith could not take a passphrase of VM $self->{vmid} away: $_\n" for @left;
    my $current = $current{ $self->{vmid} };
    delete($current{ $self->{vmid} }) if !$current || $current == $self;
    return;
}

sub DESTROY ($self) {

    # a forked process has a copy of the object, and no right to end the start; nothing can die from here
    return if $self->{pid} != $$;
    local ($@, $!, $?);
    eval { $self->withdraw(); 1 } or warn $@;
    return;
}

sub start_time () {
    open(my $file, '<', "/proc/$$/stat") or die "cannot read /proc/$$/stat: $!\n";
    my $stat = readline($file);
    close($file);
    my ($fields) = $stat =~ m/.*\) (.+)\z/s;
    my ($time)   = (split(/ /, $fields))[$STARTTIME] =~ m/\A(\d+)\z/;
    return $time;
}

1;
