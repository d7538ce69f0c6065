package PVE::API2::Qemu;

# SPDX-License-Identifier: Apache-2.0
# Stand-in: methods below a parameter. PVE::Storage is loaded before the methods are there, as in the real one.

use v5.36;

use PVE::RESTHandler;
use PVE::Storage;

use parent -norequire, 'PVE::RESTHandler';

__PACKAGE__->register_method({
    name       => 'vm_config',
    path       => '{vmid}/config',
    method     => 'GET',
    parameters => { properties => { vmid => { type => 'integer' }, node => { type => 'string' } } },
    code       => sub ($param) { return { stock => $param->{vmid} } },
});

1;
