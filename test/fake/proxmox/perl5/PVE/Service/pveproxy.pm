package PVE::Service::pveproxy;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for the web server: which directories it has, and the page of the web interface.

use v5.36;

use HTTP::Response;
use PVE::API2::Cluster;
use PVE::API2::Qemu;

our $page = <<'PAGE';
<!DOCTYPE html>
<html>
  <head>
    <script type="text/javascript" src="/proxmoxlib.js?ver=v5.1"></script>
    <script type="text/javascript" src="/pve2/js/pvemanagerlib.js?ver=9.2.11"></script>
    <script type="text/javascript">Ext.onReady(function() { Ext.create('PVE.StdWorkspace'); });</script>
  </head>
  <body></body>
</html>
PAGE

sub new ($class) { return bless({ nodename => 'node1' }, $class) }

sub init ($self) {
    $self->{server_config} = {
        dirs  => { '/pve2/js/' => '/usr/share/pve-manager/js/' },
        pages => { '/' => sub (@arguments) { return get_index($self->{nodename}, @arguments) } },
    };
    return;
}

# (response, user)
sub get_index ($nodename, $server, $request, $arguments) {
    return (HTTP::Response->new(200, 'OK', ['Content-Type' => 'text/html; charset=utf-8'], $page), 'alice@pve');
}

1;
