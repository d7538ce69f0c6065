package PVE::Storage::DirPlugin;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for a storage of plain volumes in a directory: where guests have disks that are not encrypted.

use v5.36;

use PVE::Storage::Plugin;
use PVE::Tools;

use parent -norequire, 'PVE::Storage::Plugin';

sub type { return 'dir' }

sub plugindata {
    return {
        content => [{ images => 1, rootdir => 1, iso => 1, backup => 1, snippets => 1, none => 1 }, { images => 1 }],
        format  => [{ raw => 1, qcow2 => 1 }, 'raw'],
    };
}

sub options {
    return { path => { fixed => 1 }, map { $_ => { optional => 1 } } qw(nodes shared disable content format bwlimit) };
}

sub parse_volname ($class, $volname) {
    return ('snippets', $1, undef, undef, undef, undef, 'raw') if $volname =~ m!\Asnippets/([^/]+)\z!;
    return ('iso',      $1, undef, undef, undef, undef, 'raw') if $volname =~ m!\Aiso/([^/]+)\z!;
    return ('images', $2, $1, undef, undef, $3 eq 'base', $4)
        if $volname =~ m!\A([0-9]+)/((vm|base)-[0-9]+-[^/\s]+\.(raw|qcow2))\z!;
    die "unable to parse directory volume name '$volname'\n";
}

sub path ($class, $scfg, $volname, $storeid, $snap = undef) {
    my ($kind, $name, $vmid) = $class->parse_volname($volname);
    my %directory = (snippets => 'snippets', iso => 'template/iso', images => 'images/' . ($vmid // ''));
    my $path = "$scfg->{path}/$directory{$kind}/$name";
    return wantarray ? ($path, $vmid, $kind) : $path;
}

sub filesystem_path ($class, $scfg, $volname, $snap = undef) { return $class->path($scfg, $volname, undef, $snap) }

sub status ($class, $storeid, $scfg, $cache = {}) {
    my $df = PVE::Tools::df($scfg->{path}, 2);
    return ($df->@{qw(total avail used)}, 1);
}

sub list_images ($class, $storeid, $scfg, $vmid = undef, $vollist = undef, $cache = {}) { return [] }

sub activate_volume ($class, $storeid, $scfg, $volname, @) {
    my $path = $class->path($scfg, $volname, $storeid);
    die "volume '$storeid:$volname' does not exist\n" if !-e $path;
    return;
}

sub volume_size_info ($class, $scfg, $storeid, $volname, @) {
    my $size = -s $class->path($scfg, $volname, $storeid);
    return wantarray ? ($size, 'raw', $size, undef, 0) : $size;
}

sub volume_has_feature ($class, $scfg, $feature, @) { return $feature eq 'copy' || $feature eq 'sparseinit' ? 1 : undef }

sub volume_qemu_snapshot_method { return 'storage' }

sub qemu_blockdev_options ($class, $scfg, $storeid, $volname, @) {
    my ($path) = $class->path($scfg, $volname, $storeid);
    return { driver => 'file', filename => $path };
}

1;
