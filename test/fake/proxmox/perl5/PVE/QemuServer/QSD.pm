package PVE::QemuServer::QSD;

# SPDX-License-Identifier: Apache-2.0
# STAND-IN for Proxmox VE's module of this name, written from its contract: a storage daemon for a guest's volumes that
# are needed as files. It exports nothing here: only the volume's way into the daemon is of interest.

use v5.36;

use PVE::QemuServer::Blockdev;
use PVE::QemuServer::Helpers;
use PVE::QemuServer::Monitor qw(qsd_cmd qsd_qmp_peer);
use PVE::Storage;
use PVE::Tools ();
use Time::HiRes qw(sleep);

sub start ($id) {
    my $socket = PVE::QemuServer::Helpers::qmp_socket(qsd_qmp_peer($id));
    PVE::Tools::run_command([
        'qemu-storage-daemon', '--daemonize', '--chardev', "socket,id=qmp,path=$socket,server=on,wait=off",
        '--monitor', 'chardev=qmp,mode=control', '--pidfile', PVE::QemuServer::Helpers::qsd_pidfile_name($id),
    ]);
    return;
}

sub add_fuse_export ($id, $drive, $name) {
    my $storecfg = PVE::Storage::config();
    PVE::Storage::activate_volumes($storecfg, [$drive->{file}]);
    PVE::QemuServer::Blockdev::attach($storecfg, $id, $drive, { qsd => 1 });
    return PVE::QemuServer::Helpers::qsd_fuse_export_path($id, $name);
}

sub quit ($id) {
    my $pid = PVE::QemuServer::Helpers::qsd_running_locally($id) // return;
    eval { qsd_cmd($id, 'quit') };
    while (PVE::QemuServer::Helpers::qsd_running_locally($id)) { sleep(0.05) }
    unlink(PVE::QemuServer::Helpers::qsd_pidfile_name($id), PVE::QemuServer::Helpers::qmp_socket(qsd_qmp_peer($id)));
    return;
}

1;
