package PVE::Storage;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for Proxmox VE's PVE::Storage, through which everything else reaches the storage plugins: the same functions,
# with the same checks before they call a plugin, as far as guests' disks go. PVE_STAND_IN_APIVER makes it an older one.

use v5.36;

use PVE::Cluster;
use PVE::INotify;
use PVE::JSONSchema;
use PVE::Storage::DirPlugin;
use PVE::Storage::Plugin;
use PVE::Tools;

use constant APIVER => ($ENV{PVE_STAND_IN_APIVER} // 15);
use constant APIAGE => 6;

my %ALLOWED = (
    file        => { map { $_ => 1 } qw(driver filename) },
    host_device => { map { $_ => 1 } qw(driver filename) },
    nbd         => { map { $_ => 1 } qw(driver server export) },
    rbd         => { map { $_ => 1 } qw(driver pool namespace image conf snapshot user) },
);

PVE::Storage::DirPlugin->register();
load_custom($_) for map { $_ . '/PVE/Storage/Custom' } grep { !ref } @INC;
PVE::Storage::Plugin->init();

sub load_custom ($directory) {
    PVE::Tools::dir_glob_foreach($directory, qr/.*\.pm/, sub ($file) {
        my ($name) = $file =~ m/\A([A-Za-z0-9_]+)\.pm\z/ or return;
        my $class = "PVE::Storage::Custom::$name";
        return if PVE::Storage::Plugin->private()->{plugins}->{luksmith};
        eval {
            require "PVE/Storage/Custom/$name.pm";
            die "not derived from PVE::Storage::Plugin\n" if !$class->isa('PVE::Storage::Plugin');
            my $version = $class->api();
            die "API version $version is not supported\n" if $version > APIVER || $version < APIVER - APIAGE;
            $class->register();
            warn "Plugin \"$class\" is implementing an older storage API\n" if $version != APIVER;
        };
        warn "Error loading storage plugin \"$class\": $@" if $@;
    });
    return;
}

sub config () { return PVE::Cluster::cfs_read_file('storage.cfg') }

sub write_config ($cfg) { return PVE::Cluster::cfs_write_file('storage.cfg', $cfg) }

sub lock_storage_config ($code, $errmsg = undef) {
    PVE::Cluster::cfs_lock_file('storage.cfg', undef, $code);
    die $errmsg ? "$errmsg: $@" : $@ if $@;
    return;
}

sub storage_config ($cfg, $storeid, $noerr = undef) {
    die "no storage ID specified\n" if !$storeid;
    my $scfg = $cfg->{ids}->{$storeid};
    die "storage '$storeid' does not exist\n" if !$scfg && !$noerr;
    return $scfg;
}

sub storage_check_enabled ($cfg, $storeid, $node = undef, $noerr = undef) {
    my $scfg = storage_config($cfg, $storeid);
    my $usable = !$scfg->{disable} && (!$scfg->{nodes} || $scfg->{nodes}->{ $node // PVE::INotify::nodename() });
    die "storage '$storeid' is disabled\n" if !$usable && !$noerr;
    return $usable ? $scfg : undef;
}

sub parse_volume_id ($volid, $noerr = undef) { return PVE::Storage::Plugin::parse_volume_id($volid, $noerr) }

# (plugin, section, storage ID, volume name)
sub volume ($cfg, $volid) {
    my ($storeid, $volname) = parse_volume_id($volid);
    my $scfg = storage_config($cfg, $storeid);
    return (PVE::Storage::Plugin->lookup($scfg->{type}), $scfg, $storeid, $volname);
}

sub parse_volname ($cfg, $volid) {
    my ($plugin, undef, undef, $volname) = volume($cfg, $volid);
    return $plugin->parse_volname($volname);
}

sub path ($cfg, $volid, $snap = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    my ($path, $owner, $type) = $plugin->path($scfg, $volname, $storeid, $snap);
    return wantarray ? ($path, $owner, $type) : $path;
}

# The driver must be one of a list that has no luks.
sub qemu_blockdev_options ($cfg, $volid, $machine_version = undef, $options = {}) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    my $node = $plugin->qemu_blockdev_options($scfg, $storeid, $volname, $machine_version, $options);
    my $driver = $node->{driver} // die "storage plugin for '$storeid' did not return a blockdev driver\n";
    my $allowed = $ALLOWED{$driver} // die "blockdev driver '$driver' not allowed\n";
    delete $node->{$_} for grep { !$allowed->{$_} } keys $node->%*;
    return $node;
}

sub activate_storage ($cfg, $storeid, $cache = {}) {
    my $scfg = storage_check_enabled($cfg, $storeid);
    return if $cache->{activated}->{$storeid}++;
    my $plugin = PVE::Storage::Plugin->lookup($scfg->{type});
    die "storage '$storeid' is not online\n" if !$plugin->check_connection($storeid, $scfg);
    $plugin->activate_storage($storeid, $scfg, $cache);
    return;
}

sub deactivate_storage ($cfg, $storeid) {
    my $scfg = storage_config($cfg, $storeid);
    PVE::Storage::Plugin->lookup($scfg->{type})->deactivate_storage($storeid, $scfg, {});
    return;
}

sub activate_volumes ($cfg, $volids, $snap = undef, $hints = undef) {
    PVE::Storage::Plugin::verify_hints($hints);
    my $cache = {};
    activate_storage($cfg, (parse_volume_id($_))[0], $cache) for ($volids // [])->@*;
    for my $volid (($volids // [])->@*) {
        my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
        my @hints = APIVER >= 12 ? ($hints) : ();
        $plugin->activate_volume($storeid, $scfg, $volname, $snap, $cache, @hints);
    }
    return;
}

sub deactivate_volumes ($cfg, $volids, $snap = undef) {
    my @failed = ();
    for my $volid (($volids // [])->@*) {
        my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
        eval { $plugin->deactivate_volume($storeid, $scfg, $volname, $snap, {}); 1 } and next;
        warn $@;
        push @failed, $volid;
    }
    die "volume deactivation failed: @failed\n" if @failed;
    return;
}

sub map_volume ($cfg, $volid, $snap = undef, $hints = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->map_volume($storeid, $scfg, $volname, $snap, $hints);
}

sub unmap_volume ($cfg, $volid, $snap = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->unmap_volume($storeid, $scfg, $volname, $snap);
}

sub vdisk_alloc ($cfg, $storeid, $vmid, $fmt, $name, $kib) {
    my $scfg = storage_config($cfg, $storeid);
    my $plugin = PVE::Storage::Plugin->lookup($scfg->{type});
    $fmt ||= $plugin->get_formats($scfg, $storeid)->{default};
    activate_storage($cfg, $storeid);
    return locked($plugin, $storeid, $scfg, sub {
        return "$storeid:" . $plugin->alloc_image($storeid, $scfg, $vmid, $fmt, $name, $kib);
    });
}

sub vdisk_free ($cfg, $volid) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    activate_storage($cfg, $storeid);
    locked($plugin, $storeid, $scfg, sub {
        die "base volume '$volname' is still in use by linked clones\n" if volume_is_base_and_used($cfg, $volid);
        my ($is_base, $format) = ($plugin->parse_volname($volname))[5, 6];
        return $plugin->free_image($storeid, $scfg, $volname, $is_base, $format);
    });
    return;
}

sub volume_is_base_and_used ($cfg, $volid) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    my ($name, $is_base) = ($plugin->parse_volname($volname))[1, 5];
    return 0 if !$is_base;
    my @bases = map { ($plugin->parse_volname((parse_volume_id($_->{volid}))[1]))[3] // () }
        $plugin->list_images($storeid, $scfg)->@*;
    return (grep { $_ eq $name } @bases) ? 1 : 0;
}

sub vdisk_clone ($cfg, $volid, $vmid, $snap = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    activate_storage($cfg, $storeid);
    return locked($plugin, $storeid, $scfg,
        sub { return "$storeid:" . $plugin->clone_image($scfg, $storeid, $volname, $vmid, $snap) });
}

sub vdisk_create_base ($cfg, $volid) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    activate_storage($cfg, $storeid);
    return locked($plugin, $storeid, $scfg,
        sub { return "$storeid:" . $plugin->create_base($storeid, $scfg, $volname) });
}

sub rename_volume ($cfg, $volid, $vmid, $to = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    activate_storage($cfg, $storeid);
    return locked($plugin, $storeid, $scfg,
        sub { return $plugin->rename_volume($scfg, $storeid, $volname, $vmid, $to) });
}

sub locked ($plugin, $storeid, $scfg, $code) {
    return $plugin->cluster_lock_storage($storeid, $scfg->{shared}, undef, $code);
}

sub vdisk_list ($cfg, $storeid = undef, $vmid = undef, $volids = undef, $content = undef) {
    my $cache = {};
    my $list  = {};
    for my $id (sort keys $cfg->{ids}->%*) {
        next if defined($storeid) && $id ne $storeid || !storage_check_enabled($cfg, $id, undef, 1);
        my $scfg = $cfg->{ids}->{$id};
        activate_storage($cfg, $id, $cache);
        $list->{$id} = PVE::Storage::Plugin->lookup($scfg->{type})->list_images($id, $scfg, $vmid, $volids, $cache);
    }
    return $list;
}

sub volume_list ($cfg, $storeid, $vmid = undef, $content = undef) {
    my $scfg = storage_config($cfg, $storeid);
    activate_storage($cfg, $storeid);
    my @types = grep { $scfg->{content}->{$_} } $content ? ($content) : qw(images rootdir iso);
    return PVE::Storage::Plugin->lookup($scfg->{type})->list_volumes($storeid, $scfg, $vmid, \@types);
}

# A storage that cannot be asked is not active.
sub storage_info ($cfg) {
    my $info = {};
    my $cache = {};
    for my $storeid (sort keys $cfg->{ids}->%*) {
        my $scfg = $cfg->{ids}->{$storeid};
        my @sizes = eval {
            activate_storage($cfg, $storeid, $cache);
            PVE::Storage::Plugin->lookup($scfg->{type})->status($storeid, $scfg, $cache);
        };
        warn $@ if $@;
        $info->{$storeid} = { total => $sizes[0], avail => $sizes[1], used => $sizes[2], active => $sizes[3] // 0 };
    }
    return $info;
}

sub volume_size_info ($cfg, $volid, $timeout = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_size_info($scfg, $storeid, $volname, $timeout);
}

sub volume_resize ($cfg, $volid, $size, $running = 0, $snap = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    $size += (1024 - $size % 1024) % 1024;
    return $plugin->volume_resize($scfg, $storeid, $volname, $size, $running, $snap);
}

sub volume_snapshot ($cfg, $volid, $snap) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_snapshot($scfg, $storeid, $volname, $snap);
}

sub volume_snapshot_rollback ($cfg, $volid, $snap) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    $plugin->volume_rollback_is_possible($scfg, $storeid, $volname, $snap);
    return $plugin->volume_snapshot_rollback($scfg, $storeid, $volname, $snap);
}

sub volume_rollback_is_possible ($cfg, $volid, $snap, $blockers = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_rollback_is_possible($scfg, $storeid, $volname, $snap, $blockers);
}

sub volume_snapshot_delete ($cfg, $volid, $snap, $running = 0) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_snapshot_delete($scfg, $storeid, $volname, $snap, $running);
}

sub volume_snapshot_info ($cfg, $volid) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_snapshot_info($scfg, $storeid, $volname);
}

sub volume_has_feature ($cfg, $feature, $volid, $snap = undef, $running = undef, $opts = {}) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_has_feature($scfg, $feature, $storeid, $volname, $snap, $running, $opts);
}

sub volume_qemu_snapshot_method ($cfg, $volid) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_qemu_snapshot_method($storeid, $scfg, $volname);
}

sub storage_can_replicate ($cfg, $storeid, $format) {
    my $scfg = storage_config($cfg, $storeid);
    return PVE::Storage::Plugin->lookup($scfg->{type})->storage_can_replicate($scfg, $storeid, $format);
}

sub volume_export ($cfg, $fh, $volid, $format, $snap = undef, $since = undef, $with_snapshots = undef) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_export($scfg, $storeid, $fh, $volname, $format, $snap, $since, $with_snapshots);
}

sub volume_import ($cfg, $fh, $volid, $format, $snap, $since, $with_snapshots, $allow_rename) {
    my ($plugin, $scfg, $storeid, $volname) = volume($cfg, $volid);
    return $plugin->volume_import($scfg, $storeid, $fh, $volname, $format, $snap, $since, $with_snapshots,
        $allow_rename);
}

1;
