package PVE::API2::Cluster;

# SPDX-License-Identifier: Apache-2.0
# Stand-in: methods with fixed paths.

use v5.36;

use PVE::RESTHandler;

use parent -norequire, 'PVE::RESTHandler';

__PACKAGE__->register_method({
    name       => 'tasks',
    path       => 'tasks',
    method     => 'GET',
    parameters => { properties => {} },
    code       => sub ($param) { return ['stock'] },
});

1;
