package PVE::Luksmith::Paths;

# SPDX-License-Identifier: Apache-2.0
# Where Node.js and the engine are on this host. `luksmith install --host proxmox` from a source tree writes this file
# with that tree's values; nothing else in these modules names them.

use v5.36;

our $NODE   = '/usr/bin/node';
our $ENGINE = '/usr/lib/luksmith';

# Host secrets and exported volumes: memory, gone at reboot.
our $RUN = '/run/luksmith';

1;
