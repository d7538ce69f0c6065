package PVE::Luksmith::Native;

# SPDX-License-Identifier: Apache-2.0
# Which volumes QEMU opens by itself, with its driver luks, and as which node. Only the wraps that also hand over the
# passphrase ask for such nodes: anybody else who asks Proxmox VE for a volume's node gets its export.

use v5.36;

use PVE::Luksmith::Aio;
use PVE::Luksmith::Base;
use PVE::Luksmith::Names;

my $TYPE = 'luksmith';

# By volume ID, while a wrap collects what is opened natively; and the drives that it is opened for.
our $opened;
our $drives = {};

sub in_context () { return defined($opened) }

# Calls $code, and returns what it returns in the context it is called in. Volumes whose nodes it asked for meanwhile
# are then in %$volumes, by volume ID. $of: options of drives, by volume ID.
sub collect ($volumes, $of, $code) {
    local $opened = $volumes;
    local $drives = $of;
    return $code->();
}

# QEMU's node for a volume below LUKS.
sub encrypted_node ($base, $name, $snap, $volid, $hints) {
    my $node = PVE::Luksmith::Aio::of($base, $base->blockdev($name, $snap), $drives->{$volid});
    my $cache = $hints->{'efi-disk'} ? $base->cache_writes($name) : undef;
    return $cache ? { $node->%*, cache => $cache } : $node;
}

# The volume of a drive if it lies on a storage of ours; nothing for `none`, `cdrom`, absolute paths, NBD addresses
# (which look like volume IDs) and volumes elsewhere.
sub volume ($storecfg, $volid) {
    return if ref($storecfg) ne 'HASH' || ref($volid) || !length($volid // '');
    my ($storeid, $volname) = $volid =~ m{\A([A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]):(\S+)\z} or return;
    my $scfg = $storecfg->{ids}->{$storeid} // return;
    return if ($scfg->{type} // '') ne $TYPE;

    my $parsed = PVE::Luksmith::Names::parse($volname) // return;
    return {
        volid   => "$storeid:$volname",
        storeid => $storeid,
        volname => $volname,
        base    => PVE::Luksmith::Base::of($scfg, $storeid),
        name    => $parsed->{name},
        vmid    => $parsed->{vmid},
        object  => PVE::Luksmith::Names::secret_id($volid),
    };
}

# QEMU's RAM is written and read as a file, never as a disk.
sub is_state ($volume) {
    return PVE::Luksmith::Names::is_state($volume->{name});
}

# Around PVE::Storage::qemu_blockdev_options, whose list of allowed drivers has no luks: for a native volume the storage
# plugin is asked itself.
sub blockdev_options ($original, @arguments) {
    my ($storecfg, $volid, $machine_version, $options) = @arguments;
    my $volume = in_context() ? volume($storecfg, $volid) : undef;
    if (!$volume || is_state($volume)) {
        local $opened = undef;
        return $original->(@arguments);
    }

    my $scfg   = $storecfg->{ids}->{ $volume->{storeid} };
    my $plugin = PVE::Storage::Plugin->lookup($scfg->{type});
    my $node =
        $plugin->qemu_blockdev_options($scfg, $volume->{storeid}, $volume->{volname}, $machine_version, $options // {});
    $opened->{ $volume->{volid} } = $volume if ref($node) eq 'HASH' && ($node->{driver} // '') eq 'luks';
    return $node;
}

1;
