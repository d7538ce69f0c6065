package PVE::Luksmith::Api::Cluster;

# SPDX-License-Identifier: Apache-2.0
# /cluster/luksmith: the settings, which are the cluster's. Tests and previews are of the node that is asked.
#
# Settings name servers, files that root reads and sends there, and libraries that root loads: whoever has some saved, or
# tried, can become root on every node. These methods have no permissions, which to Proxmox VE means root@pam alone, and
# none of its API tokens.

use v5.36;

use PVE::JSONSchema;
use PVE::Luksmith::Requests;
use PVE::RESTHandler;
use PVE::RPCEnvironment;

use parent -norequire, 'PVE::RESTHandler';

my $MAY_READ = { check => ['perm', '/', ['Sys.Audit']] };

my $SETTINGS = {
    description => 'Settings as JSON, as luksmith settings schema has them. Secrets in them are stored apart.',
    type        => 'string',
    minLength   => 2,
    maxLength   => $PVE::Luksmith::Requests::MAX_SETTINGS,
};
my $DIGEST = {
    description => 'Refuse if the settings have changed since this digest was read.',
    type        => 'string',
    pattern     => '[0-9a-f]{64}',
    optional    => 1,
};
my $KEYSTORE = {
    description => 'Name of the keystore to test.',
    type        => 'string',
    pattern     => '[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}',
};

__PACKAGE__->register_method({
    name        => 'index',
    path        => '',
    method      => 'GET',
    description => 'Directory index.',
    permissions => { user => 'all' },
    parameters  => parameters(),
    returns     => {
        type  => 'array',
        items => { type => 'object', properties => { name => { type => 'string' } } },
        links => [{ rel => 'child', href => '{name}' }],
    },
    code => sub ($param) { return [map { { name => $_ } } qw(preview settings test)] },
});

__PACKAGE__->register_method({
    name        => 'read_settings',
    path        => 'settings',
    method      => 'GET',
    description => 'Read the settings, with a digest, and without secrets.',
    protected   => 1,
    permissions => $MAY_READ,
    parameters  => parameters(),
    returns     => { type => 'object' },
    code        => sub ($param) { return PVE::Luksmith::Requests::settings() },
});

__PACKAGE__->register_method({
    name        => 'update_settings',
    path        => 'settings',
    method      => 'PUT',
    description => 'Replace the settings, if they are valid.',
    protected   => 1,
    parameters  => parameters(settings => $SETTINGS, digest => $DIGEST),
    returns     => { type => 'object' },
    code        => sub ($param) {
        return PVE::Luksmith::Requests::save_settings($param->@{qw(settings digest)});
    },
});

__PACKAGE__->register_method({
    name        => 'test_keystore',
    path        => 'test',
    method      => 'POST',
    description => 'Try one keystore of settings that need not be saved, from this node.',
    protected   => 1,
    parameters  => parameters(settings => $SETTINGS, keystore => $KEYSTORE),
    returns     => { type => 'string', description => 'ID of the task.' },
    code        => sub ($param) {
        my ($name, $test) = PVE::Luksmith::Requests::keystore_test($param->@{qw(settings keystore)});
        my $environment = PVE::RPCEnvironment::get();
        return $environment->fork_worker('luksmithtest', $name, $environment->get_user(), sub ($upid) { $test->() });
    },
});

__PACKAGE__->register_method({
    name        => 'preview_settings',
    path        => 'preview',
    method      => 'POST',
    description => "Tell what settings would ask of the disks of this node's guests.",
    protected   => 1,
    parameters  => parameters(settings => $SETTINGS),
    returns     => { type => 'object' },
    code        => sub ($param) { return PVE::Luksmith::Requests::preview_settings($param->{settings}) },
});

sub parameters (%properties) { return { additionalProperties => 0, properties => \%properties } }

1;
