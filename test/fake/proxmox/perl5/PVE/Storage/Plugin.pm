package PVE::Storage::Plugin;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for Proxmox VE's base class of storage plugins, written from the contracts of its methods. What the storage
# type luksmith has to override dies here, so that a test notices when it does not.

use v5.36;

use PVE::Cluster;
use PVE::JSONSchema;
use PVE::Tools;

use parent -norequire, 'PVE::SectionConfig';
use PVE::SectionConfig;

my $DATA = {
    propertyList => {
        type    => { type => 'string' },
        storage => { type => 'string', format => 'pve-storage-id' },
        map { $_ => { type => 'string', optional => 1 } } qw(nodes content format bwlimit path preallocation),
    },
};
$DATA->{propertyList}->{$_} = { type => 'boolean', optional => 1 } for qw(disable shared snapshot-as-volume-chain);

PVE::Cluster::cfs_register_file(
    'storage.cfg',
    sub { return __PACKAGE__->parse_config(@_) },
    sub { return __PACKAGE__->write_config(@_) },
);

sub private { return $DATA }

sub parse_config ($class, $file, $raw) {
    my $config = $class->SUPER::parse_config($file, $raw);
    for my $section (grep { defined } values $config->{ids}->%*) {
        $section->{content} //= $DATA->{plugindata}->{ $section->{type} }->{content}->[1];
    }
    $config->{ids}->{local} //= { type => 'dir', path => '/var/lib/vz', content => { images => 1 } };
    return $config;
}

sub decode_value ($class, $type, $key, $value) {
    return { map { $_ => 1 } PVE::Tools::split_list($value) } if $key eq 'nodes';
    return $value if $key ne 'content';
    my $valid = $DATA->{plugindata}->{$type}->{content}->[0];
    my %content = map { $_ => 1 } PVE::Tools::split_list($value);
    for my $kind (sort keys %content) {
        next if $valid->{$kind};
        warn "storage does not support content type '$kind'\n";
        delete $content{$kind};
    }
    return \%content;
}

sub encode_value ($class, $type, $key, $value) {
    return ref($value) eq 'HASH' ? join(',', sort keys $value->%*) : $value;
}

sub parse_volume_id ($volid, $noerr = undef) {
    return ($1, $2) if $volid =~ m/\A([a-z][a-z0-9\-_.]*[a-z0-9]):(.+)\z/i;
    return if $noerr;
    die "unable to parse volume ID '$volid'\n";
}

sub verify_hints ($hints) {
    my %known = map { $_ => 1 } qw(guest-is-windows plugin-may-deactivate-volume);
    die "internal error - hints are not valid\n" if grep { !$known{$_} } keys(($hints // {})->%*);
    return;
}

sub sensitive_properties ($type) {
    my $sensitive = $DATA->{plugindata}->{$type}->{'sensitive-properties'} // { password => 1 };
    return [sort keys $sensitive->%*];
}

sub get_formats ($class, $scfg, $storeid) {
    my $format = $DATA->{plugindata}->{ $scfg->{type} }->{format} // [{ raw => 1 }, 'raw'];
    return { default => $scfg->{format} // $format->[1], valid => { $format->[0]->%* } };
}

sub on_add_hook          { return }
sub on_update_hook       { return }
sub on_update_hook_full  { return }
sub on_delete_hook       { return }
sub check_connection     { return 1 }
sub activate_storage     { return }
sub deactivate_storage   { return }
sub deactivate_volume    { return }
sub unmap_volume         { return 1 }
sub storage_can_replicate          { return 0 }
sub volume_snapshot_needs_fsfreeze { return 0 }
sub get_volume_attribute           { return }

for my $name (
    qw(
    type parse_volname path filesystem_path create_base clone_image alloc_image free_image volume_size_info
    volume_resize volume_snapshot volume_snapshot_rollback volume_snapshot_delete volume_snapshot_info
    volume_rollback_is_possible volume_qemu_snapshot_method volume_has_feature list_images status map_volume
    activate_volume volume_export volume_export_formats volume_import volume_import_formats rename_volume
    rename_snapshot qemu_blockdev_options
    )
    )
{
    no strict 'refs';
    *{$name} = sub { die "$name is not overridden in $_[0]\n" };
}

sub cluster_lock_storage ($class, $storeid, $shared, $timeout, $code, @arguments) {
    my $result = PVE::Cluster::cfs_lock_storage($storeid, $timeout, $code, @arguments);
    die $@ if $@;
    return $result;
}

sub find_free_diskname ($class, $storeid, $scfg, $vmid, $fmt, $add_suffix = undef) {
    my %taken = map { m/(?:vm|base)-$vmid-disk-(\d+)/ ? ($1 => 1) : () }
        map { $_->{volid} } $class->list_images($storeid, $scfg, $vmid)->@*;
    my ($number) = grep { !$taken{$_} } 0 .. 1023;
    die "unable to allocate an image name for VM $vmid in storage '$storeid'\n" if !defined($number);
    return "vm-$vmid-disk-$number" . ($add_suffix ? ".$fmt" : '');
}

sub list_volumes ($class, $storeid, $scfg, $vmid, $types) {
    my $guests = PVE::Cluster::get_vmlist()->{ids};
    my @volumes = ();
    for my $type ($types->@*) {
        next if $type ne 'images' && $type ne 'rootdir';
        for my $volume ($class->list_images($storeid, $scfg, $vmid)->@*) {
            my $is_container = (($guests->{ $volume->{vmid} } // {})->{type} // '') eq 'lxc';
            $volume->{content} = $is_container ? 'rootdir' : 'images';
            push @volumes, $volume if $volume->{content} eq $type;
        }
    }
    return \@volumes;
}

# Of a stream: its size in bytes, as eight bytes.
sub write_common_header : prototype($$) {
    my ($fh, $size) = @_;
    syswrite($fh, pack('Q<', $size), 8);
    return;
}

sub read_common_header : prototype($) {
    my ($fh) = @_;
    sysread($fh, my $bytes, 8) or die "import: no size found in export header, aborting.\n";
    return unpack('Q<', $bytes);
}

1;
