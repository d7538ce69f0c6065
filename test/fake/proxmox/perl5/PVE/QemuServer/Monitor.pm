package PVE::QemuServer::Monitor;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: one QMP command on a connection of its own.

use v5.36;

use IO::Select;
use IO::Socket::UNIX;
use JSON ();
use PVE::QemuServer::Helpers;
use parent 'Exporter';

our @EXPORT_OK = qw(mon_cmd qmp_cmd qsd_cmd qsd_qmp_peer vm_qmp_peer);

my $TIMEOUT = 20;

sub vm_qmp_peer ($vmid) { return { name => "VM $vmid", id => $vmid, type => 'qmp' } }

sub qsd_qmp_peer ($id) { return { name => "QEMU storage daemon $id", id => $id, type => 'qsd' } }

sub mon_cmd ($vmid, $command, %arguments) { return qmp_cmd(vm_qmp_peer($vmid), $command, %arguments) }

sub qsd_cmd ($id, $command, %arguments) { return qmp_cmd(qsd_qmp_peer($id), $command, %arguments) }

# With noerr a refusal is returned as { error => text }; a peer that is not there is always an error.
sub qmp_cmd ($peer, $command, %arguments) {
    my ($noerr, $timeout) = delete @arguments{qw(noerr timeout)};
    my $pid =
        $peer->{type} eq 'qsd'
        ? PVE::QemuServer::Helpers::qsd_running_locally($peer->{id})
        : PVE::QemuServer::Helpers::vm_running_locally($peer->{id});
    die "$peer->{name} not running\n" if !$pid;
    my $socket = IO::Socket::UNIX->new(Peer => PVE::QemuServer::Helpers::qmp_socket($peer))
        or die "unable to open monitor socket\n";

    my $answer = sub {
        while (IO::Select->new($socket)->can_read($timeout // $TIMEOUT)) {
            my $line = '';
            while (sysread($socket, my $byte, 1)) { $line .= $byte; last if $byte eq "\n" }
            my $message = JSON::decode_json($line);
            return $message if !$message->{event};
        }
        die "$peer->{name} $peer->{type} command '$command' failed - got timeout\n";
    };
    $answer->();
    my $said;
    for my $message ({ execute => 'qmp_capabilities' }, { execute => $command, arguments => \%arguments }) {
        syswrite($socket, JSON::encode_json($message) . "\n");
        $said = $answer->();
    }
    return $said->{return} if !$said->{error};
    return { error => $said->{error}->{desc} } if $noerr;
    die "$peer->{name} $peer->{type} command '$command' failed - $said->{error}->{desc}\n";
}

1;
