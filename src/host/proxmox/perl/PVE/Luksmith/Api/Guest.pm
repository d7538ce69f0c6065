package PVE::Luksmith::Api::Guest;

# SPDX-License-Identifier: Apache-2.0
# /nodes/{node}/qemu/{vmid}/luksmith: one guest's disks, told and changed by the node that it is on. Its disks are
# encrypted by moving them, with Proxmox VE's own move_disk.

use v5.36;

use PVE::JSONSchema;
use PVE::Luksmith::Requests;
use PVE::RESTHandler;
use PVE::RPCEnvironment;

use parent -norequire, 'PVE::RESTHandler';

my $DISK = {
    description => 'Only this disk; all encrypted ones without it.',
    type        => 'string',
    pattern     => '[a-z]{1,16}[0-9]{1,3}',
    optional    => 1,
};

my $OTHER = 'another guest';

__PACKAGE__->register_method({
    name        => 'status',
    path        => '',
    method      => 'GET',
    description => 'Tell which disks of the guest are encrypted, and where data of it are besides.',
    protected   => 1,
    proxyto     => 'node',
    permissions => { check => ['perm', '/vms/{vmid}', ['VM.Audit']] },
    parameters  => parameters(),
    returns     => { type => 'object' },
    code        => sub ($param) {
        my $guest = PVE::Luksmith::Requests::status($param->{vmid});
        without_others($_) for ($guest->{disks} // [])->@*;
        return $guest;
    },
});

__PACKAGE__->register_method({
    name        => 'rotate',
    path        => 'rotate',
    method      => 'POST',
    description => 'Give encrypted disks of the guest new passphrases, whether it runs or not.',
    protected   => 1,
    proxyto     => 'node',
    permissions => { check => ['perm', '/vms/{vmid}', ['VM.Config.Disk']] },
    parameters  => parameters(disk => $DISK),
    returns     => { type => 'string', description => 'ID of the task.' },
    code        => sub ($param) {
        my ($vmid, $disk) = $param->@{qw(vmid disk)};
        my $environment = PVE::RPCEnvironment::get();
        my $work        = sub ($upid) { PVE::Luksmith::Requests::rotate($vmid, $disk) };
        return $environment->fork_worker('luksmithrotate', $vmid, $environment->get_user(), $work);
    },
});

# Names no other guest that whoever asks may not see.
sub without_others ($disk) {
    if (defined($disk->{copyOf})) {
        my ($owner) = $disk->{copyOf} =~ m/.*\b(?:vm|base)-([1-9][0-9]{2,8})-/as;
        $disk->{copyOf} = $OTHER if !may_see($owner);
    }

    # these are names, which say nothing of VMIDs
    $disk->{sameVolumeKey} = [$OTHER] if $disk->{sameVolumeKey} && !may_see(undef);
    return;
}

# Undef for $vmid is all guests.
sub may_see ($vmid) {
    my $environment = PVE::RPCEnvironment::get();
    my $path        = defined($vmid) ? "/vms/$vmid" : '/vms';
    return $environment->check($environment->get_user(), $path, ['VM.Audit'], 1);
}

sub parameters (%properties) {
    return {
        additionalProperties => 0,
        properties           => {
            node => PVE::JSONSchema::get_standard_option('pve-node'),
            vmid => PVE::JSONSchema::get_standard_option('pve-vmid'),
            %properties,
        },
    };
}

1;
