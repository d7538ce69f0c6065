package PVE::Storage::Custom::LuksmithPlugin;

# SPDX-License-Identifier: Apache-2.0
# Storage type luksmith: every volume is a LUKS volume with a key of its own, on a directory, LVM, Ceph or ZFS. QEMU
# opens volumes natively when a guest runs; whatever else needs a path gets an export (PVE::Luksmith::Export).
# This file answers Proxmox VE's storage API and decides nothing that the modules below can decide.

use v5.36;

use JSON ();
use PVE::Luksmith::Base;
use PVE::Luksmith::Engine;
use PVE::Luksmith::Export;
use PVE::Luksmith::InUse;
use PVE::Luksmith::Names;
use PVE::Luksmith::Native;
use PVE::Luksmith::Section;
use PVE::Luksmith::Starts;
use PVE::Luksmith::Transfer;
use PVE::Luksmith::Wraps;
use PVE::Storage::Plugin;

use parent -norequire, 'PVE::Storage::Plugin';

# The newest version of the storage API that this was written for; on older ones it is what they ask for.
my $API = 15;

# pveproxy loads this as www-data; whatever goes wrong here must not keep it from starting
eval { PVE::Luksmith::Wraps::install(); 1 } or warn "luksmith: $@";

# What serves the API has compiled all of it by INIT: on a clash of paths only ours can fail. Too late for INIT are
# programs that load storages while they run, which serve nothing.
no warnings 'void';    ## no critic (ProhibitNoWarnings)

INIT {
    if ($INC{'PVE/API2/Cluster.pm'}) {
        eval { require PVE::Luksmith::Panel; PVE::Luksmith::Panel::install(); 1 } or warn "luksmith: $@";
    }
}
use warnings 'void';

# -- what this type is

sub api {
    my $current = PVE::Storage::APIVER();
    return $current < $API ? $current : $API;
}

sub type { return 'luksmith' }

sub plugindata {
    return {
        content                => [{ images => 1 }, { images => 1 }],
        format                 => [{ raw => 1 }, 'raw'],
        'sensitive-properties' => {},
    };
}

sub properties { return PVE::Luksmith::Section::properties() }

sub options { return PVE::Luksmith::Section::options() }

sub get_formats ($class, $scfg, $storeid) {
    return { default => 'raw', valid => { raw => 1 } };
}

# For a new section, and for each section of storage.cfg that is read.
sub check_config ($class, $storeid, $config, $create, @more) {
    my $settings = $class->SUPER::check_config($storeid, $config, $create, @more);
    return $create ? PVE::Luksmith::Section::complete($settings) : $settings;
}

sub on_add_hook ($class, $storeid, $scfg, %sensitive) {
    return PVE::Luksmith::Section::add($storeid, $scfg);
}

# Up to version 12 of the API, which gives neither the section nor what is deleted from it: a profile that is deleted
# stays in the record until the next change. Only the command that restores a lost section has it from there.
sub on_update_hook ($class, $storeid, $changed, %sensitive) {
    my $scfg = PVE::Storage::storage_config(PVE::Storage::config(), $storeid);
    return PVE::Luksmith::Section::update($storeid, $scfg, $changed, []);
}

sub on_update_hook_full ($class, $storeid, $scfg, $changed, $deleted, $sensitive) {
    return PVE::Luksmith::Section::update($storeid, $scfg, $changed, $deleted);
}

sub on_delete_hook ($class, $storeid, $scfg) {
    return PVE::Luksmith::Section::forget($storeid);
}

# -- the storage

sub activate_storage ($class, $storeid, $scfg, $cache = {}) {
    PVE::Luksmith::Wraps::install_late();
    PVE::Luksmith::Base::of($scfg, $storeid)->activate_base($cache);
    return 1;
}

sub deactivate_storage ($class, $storeid, $scfg, $cache = {}) { return 1 }

sub status ($class, $storeid, $scfg, $cache = {}) {
    my @sizes = PVE::Luksmith::Base::of($scfg, $storeid)->status($cache) or return;
    return (@sizes, 1);
}

sub storage_can_replicate ($class, $scfg, $storeid, $format) { return 0 }

# -- names and sizes, without the engine

sub parse_volname ($class, $volname) {
    my $parsed = PVE::Luksmith::Names::parse($volname)
        or die "unable to parse luksmith volume name '" . PVE::Luksmith::Names::printable($volname) . "'\n";
    return ('images', $parsed->@{qw(name vmid base base_vmid)}, $parsed->{is_base} ? 1 : '', 'raw');
}

sub path ($class, $scfg, $volname, $storeid, $snap = undef) {
    my (undef, $name, $vmid) = $class->parse_volname($volname);
    $snap = PVE::Luksmith::Names::snapshot($snap) if defined($snap);
    my $path = PVE::Luksmith::Export::path($storeid, $name, $snap);
    return wantarray ? ($path, $vmid, 'images') : $path;
}

# Proxmox VE's own code asks path, which knows the storage; this is for what asks the plugin directly.
sub filesystem_path ($class, $scfg, $volname, $snap = undef) {
    my $ids = PVE::Storage::config()->{ids};
    my @options = grep { m/^base-/ } keys PVE::Luksmith::Section::properties()->%*;
    for my $storeid (sort grep { $ids->{$_}->{type} eq $class->type } keys $ids->%*) {
        next if grep { ($ids->{$storeid}->{$_} // '') ne ($scfg->{$_} // '') } @options;
        return $class->path($scfg, $volname, $storeid, $snap);
    }
    die "no storage of type luksmith has this base\n";
}

sub list_images ($class, $storeid, $scfg, $vmid = undef, $vollist = undef, $cache = {}) {
    my %wanted = map { $_ => 1 } ($vollist // [])->@*;
    my $base   = PVE::Luksmith::Base::of($scfg, $storeid);
    my $found  = $base->list($cache);
    my @images = ();
    for my $name (sort keys $found->%*) {
        my $info = $found->{$name};
        my (undef, $owner) = PVE::Luksmith::Names::on_base($name);
        my $volid = $base->id . ':' . (defined($info->{parent}) ? "$info->{parent}/$name" : $name);
        next if $vollist ? !$wanted{$volid} : defined($vmid) && $owner != $vmid;
        push @images, { volid => $volid, vmid => $owner, format => 'raw', $info->%* };
    }
    return \@images;
}

sub volume_size_info ($class, $scfg, $storeid, $volname, $timeout = undef) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    my ($size, $used, $ctime) = $base->size_info($base->name($volname), $timeout);
    return wantarray ? ($size, 'raw', $used, undef, $ctime) : $size;
}

# Never sparseinit: a new encrypted volume reads as noise, and who skips zeros would leave it in place of them.
sub volume_has_feature ($class, $scfg, $feature, $storeid, $volname, $snap = undef, $running = undef, $opts = undef) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    my $has  = {
        copy     => { base => 1, current => 1, snap => $base->can_read_snapshot },
        rename   => { current => 1 },
        template => { current => 1 },
        snapshot => { current => $base->can_snapshot },
        clone    => { base => $base->can_clone },
    };
    my $is_base = ($class->parse_volname($volname))[5];
    my $state = defined($snap) ? 'snap' : $is_base ? 'base' : 'current';
    return $has->{$feature}->{$state} ? 1 : undef;
}

# -- volumes made, changed and destroyed, by the engine; the caller has the lock of the storage, except for imports

sub alloc_image ($class, $storeid, $scfg, $vmid, $fmt, $name, $size) {
    die "unsupported format '$fmt': volumes of type luksmith are raw\n" if ($fmt // 'raw') ne 'raw';
    $name = $class->find_free_diskname($storeid, $scfg, $vmid, $fmt) if !$name;
    my $parsed = PVE::Luksmith::Names::parse($name);
    die "illegal name '" . PVE::Luksmith::Names::printable($name) . "' - should be 'vm-$vmid-*'\n"
        if !$parsed || $parsed->{base} || $parsed->{is_base} || $parsed->{vmid} != $vmid;

    engine($scfg, $storeid, $name, op => 'create', vmid => int($vmid), size => $size * 1024);
    return $parsed->{name};
}

# One that is gone is success. The engine closes its export, and destroys its snapshots, when it knows that nobody uses
# it.
sub free_image ($class, $storeid, $scfg, $volname, $is_base, $format = undef) {
    engine($scfg, $storeid, $volname, op => 'free');
    return;
}

sub volume_resize ($class, $scfg, $storeid, $volname, $size, $running, $snap = undef) {
    die "a snapshot of an encrypted volume cannot be resized\n" if defined($snap);
    engine($scfg, $storeid, $volname, op => 'resize', size => int($size), running => boolean($running));
    return;
}

sub rename_volume ($class, $scfg, $storeid, $volname, $vmid, $to = undef) {
    my ($name, $base) = ($class->parse_volname($volname))[1, 3];
    $to = $class->find_free_diskname($storeid, $scfg, $vmid, 'raw') if !$to;
    close_export($scfg, $storeid, $volname);
    engine($scfg, $storeid, $volname, op => 'rename', to => $to, vmid => int($vmid));
    return "$storeid:" . (defined($base) ? "$base/$to" : $to);
}

sub create_base ($class, $storeid, $scfg, $volname) {
    my ($name, $vmid, $base, $is_base) = ($class->parse_volname($volname))[1, 2, 3, 5];
    die "'$volname' is a template already\n" if $is_base;
    my $to = $name =~ s/\Avm-/base-/r;
    close_export($scfg, $storeid, $volname);
    engine($scfg, $storeid, $volname, op => 'template', to => $to, vmid => int($vmid));
    return defined($base) ? "$base/$to" : $to;
}

sub clone_image ($class, $scfg, $storeid, $volname, $vmid, $snap = undef) {
    my ($name, $is_base) = ($class->parse_volname($volname))[1, 5];
    die "linked clones are made of templates, not of snapshots\n" if defined($snap);
    die "linked clones are made of templates\n"                   if !$is_base;
    die "the base of storage '$storeid' has no linked clones\n"
        if !PVE::Luksmith::Base::of($scfg, $storeid)->can_clone;
    my $to = $class->find_free_diskname($storeid, $scfg, $vmid, 'raw');
    engine($scfg, $storeid, $volname, op => 'clone', to => $to, vmid => int($vmid));
    return "$name/$to";
}

# -- snapshots, without a lock of the storage

# The storage makes it below QEMU, which needs to do nothing.
sub volume_qemu_snapshot_method ($class, $storeid, $scfg, $volname) { return 'storage' }

sub volume_snapshot ($class, $scfg, $storeid, $volname, $snap) {
    return snapshot_operation($scfg, $storeid, $volname, $snap, 'snapshot');
}

sub volume_snapshot_rollback ($class, $scfg, $storeid, $volname, $snap) {
    close_export($scfg, $storeid, $volname);
    return snapshot_operation($scfg, $storeid, $volname, $snap, 'rollback');
}

sub volume_snapshot_delete ($class, $scfg, $storeid, $volname, $snap, $running = undef) {
    close_export($scfg, $storeid, $volname, PVE::Luksmith::Names::snapshot($snap));
    return snapshot_operation($scfg, $storeid, $volname, $snap, 'delete-snapshot');
}

sub volume_snapshot_info ($class, $scfg, $storeid, $volname) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    return $base->snapshots($base->name($volname));
}

# Only ZFS cares, which destroys what came after.
sub volume_rollback_is_possible ($class, $scfg, $storeid, $volname, $snap, $blockers = []) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    die "the base of storage '$storeid' has no snapshots\n" if !$base->can_snapshot;
    push $blockers->@*, $base->newer_snapshots($base->name($volname), $snap);
    die "cannot roll back '$storeid:$volname': '$snap' is not its newest snapshot\n" if $blockers->@*;
    return 1;
}

sub rename_snapshot ($class, @arguments) { die "snapshots of encrypted volumes cannot be renamed\n" }

# -- volumes in use

sub activate_volume ($class, $storeid, $scfg, $volname, $snap = undef, $cache = {}, $hints = undef) {
    PVE::Luksmith::Wraps::install_late();
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    my $name = $base->name($volname);
    $snap = PVE::Luksmith::Names::snapshot($snap) if defined($snap);
    $base->activate($name, $snap);

    # the guest opens it itself; an export that somebody left open would keep it from that
    if (!defined($snap) && starts_natively($name, $hints)) {
        PVE::Luksmith::Export::close($base, $name);
        return 1;
    }
    return 1 if PVE::Luksmith::Export::keep_open($base->id, $name, $snap);
    if (!defined($snap) && runs_natively($class, $base, $volname)) {
        die "cannot write '$storeid:$volname': the guest has it open\n" if PVE::Luksmith::Names::is_cloudinit($name);
        return 1;
    }
    PVE::Luksmith::Export::open($base, $name, $snap);
    return 1;
}

sub deactivate_volume ($class, $storeid, $scfg, $volname, $snap = undef, $cache = {}) {
    my (undef, $name, $vmid) = $class->parse_volname($volname);
    $snap = PVE::Luksmith::Names::snapshot($snap) if defined($snap);
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    if (PVE::Luksmith::Names::is_state($name)) {

        # QEMU, which runs, has just written it or read it: a guest that resumes has not started yet
        PVE::Luksmith::Export::close_soon($base, $name, $snap);
    } else {
        PVE::Luksmith::Starts::withdraw_failed($vmid);
        PVE::Luksmith::Export::close($base, $name, $snap);
    }
    $base->deactivate($name, $snap);
    return 1;
}

# For programs that take a path and nothing else, as the software TPM.
sub map_volume ($class, $storeid, $scfg, $volname, $snap = undef, $hints = undef) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    my $name = $base->name($volname);
    $snap = PVE::Luksmith::Names::snapshot($snap) if defined($snap);
    $base->activate($name, $snap);
    return PVE::Luksmith::Export::path($base->id, $name, $snap)
        if PVE::Luksmith::Export::keep_open($base->id, $name, $snap);
    return PVE::Luksmith::Export::open($base, $name, $snap);
}

sub unmap_volume ($class, $storeid, $scfg, $volname, $snap = undef) {
    close_export($scfg, $storeid, $volname, $snap);
    return 1;
}

# Natively only where the wraps give QEMU the passphrase.
sub qemu_blockdev_options ($class, $scfg, $storeid, $volname, $machine_version, $options = {}) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    my $name = $base->name($volname);
    my $snap = $options->{'snapshot-name'};
    $snap = PVE::Luksmith::Names::snapshot($snap) if defined($snap);
    return { driver => 'file', filename => PVE::Luksmith::Export::path($base->id, $name, $snap) }
        if !PVE::Luksmith::Wraps::native_context();
    my $volid = "$storeid:$volname";
    return {
        driver       => 'luks',
        'key-secret' => PVE::Luksmith::Names::secret_id($volid),
        file         => PVE::Luksmith::Native::encrypted_node($base, $name, $snap, $volid, $options->{hints} // {}),
    };
}

# -- volumes as streams

sub volume_export_formats ($class, $scfg, $storeid, $volname, $snap = undef, $since = undef, $with_snapshots = undef) {
    return if defined($snap) || defined($since) || $with_snapshots;
    return ($PVE::Luksmith::Transfer::FORMAT);
}

sub volume_import_formats ($class, $scfg, $storeid, $volname, $snap = undef, $since = undef, $with_snapshots = undef) {
    return $class->volume_export_formats($scfg, $storeid, $volname, $snap, $since, $with_snapshots);
}

sub volume_export ($class, $scfg, $storeid, $fh, $volname, $format, $snap = undef, $since = undef, $with_snaps = undef) {
    die "volumes of type luksmith are not exported as $format\n"
        if !grep { $_ eq $format } $class->volume_export_formats($scfg, $storeid, $volname, $snap, $since, $with_snaps);
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    my $name = $base->name($volname);
    $base->activate($name);
    PVE::Luksmith::Transfer::send_volume($base, $name, $fh);
    return;
}

sub volume_import ($class, $scfg, $storeid, $fh, $volname, $format, $snap = undef, $since = undef,
    $with_snaps = undef, $allow_rename = undef)
{
    die "volumes of type luksmith are not imported as $format\n"
        if !grep { $_ eq $format } $class->volume_import_formats($scfg, $storeid, $volname, $snap, $since, $with_snaps);
    my ($name, $vmid, $is_base) = ($class->parse_volname($volname))[1, 2, 5];
    $name = free_name($class, $storeid, $scfg, $vmid, $name =~ s/\Abase-/vm-/r, $allow_rename);

    my $size = PVE::Storage::Plugin::read_common_header($fh);
    my $new  = $class->alloc_image($storeid, $scfg, $vmid, 'raw', $name, int(($size + 1023) / 1024));
    eval {
        my $base = PVE::Luksmith::Base::of($scfg, $storeid);
        $base->activate($new);
        PVE::Luksmith::Transfer::receive_volume($base, $new, $fh, $size);
    };
    if (my $error = $@) {
        eval { $class->free_image($storeid, $scfg, $new, 0, 'raw') };
        warn $@ if $@;
        die $error;
    }
    $new = $class->create_base($storeid, $scfg, $new) if $is_base;
    return "$storeid:$new";
}

# -- helpers

sub engine ($scfg, $storeid, $volname, %request) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    return PVE::Luksmith::Engine::bridge(
        { %request, storage => $base->storage_json, volume => $base->name($volname) });
}

sub snapshot_operation ($scfg, $storeid, $volname, $snap, $op) {
    engine($scfg, $storeid, $volname, op => $op, snapshot => PVE::Luksmith::Names::snapshot($snap));
    return;
}

sub close_export ($scfg, $storeid, $volname, $snap = undef) {
    my $base = PVE::Luksmith::Base::of($scfg, $storeid);
    PVE::Luksmith::Export::close($base, $base->name($volname), $snap);
    return;
}

# The hint is only given when a guest starts. Saved memory is read and written by path.
sub starts_natively ($name, $hints) {
    return 0 if PVE::Luksmith::Names::is_state($name);
    return $hints && $hints->{'plugin-may-deactivate-volume'} && PVE::Luksmith::Wraps::is_native() ? 1 : 0;
}

sub runs_natively ($class, $base, $volname) {
    my (undef, $name, $vmid) = $class->parse_volname($volname);
    return PVE::Luksmith::InUse::in_use_natively($vmid, $base, $name);
}

# undef for any name that is free
sub free_name ($class, $storeid, $scfg, $vmid, $name, $allow_rename) {
    my $taken = PVE::Luksmith::Base::of($scfg, $storeid)->list({});
    return $name                                   if !$taken->{$name};
    die "volume '$storeid:$name' already exists\n" if !$allow_rename;
    warn "volume '$storeid:$name' already exists - importing with a different name\n";
    return;
}

sub boolean ($value) { return $value ? JSON::true() : JSON::false() }

1;
