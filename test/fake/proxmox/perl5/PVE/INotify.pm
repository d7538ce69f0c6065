package PVE::INotify;

# SPDX-License-Identifier: Apache-2.0
# Stand-in: the node that the tests run on.

use v5.36;

sub nodename () { return 'node1' }

1;
