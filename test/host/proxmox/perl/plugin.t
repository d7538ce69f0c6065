#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# What Proxmox VE asks of the storage, and what the engine is asked for it. The engine is a fake that checks requests.
use v5.36;
use JSON ();
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $CLASS  = 'PVE::Storage::Custom::LuksmithPlugin';
my $PATH   = root() . '/srv/enc';
my $EXPORT = root() . '/run/luksmith/export/enc';
my $MIB    = 1024 * 1024;
my $START  = { 'plugin-may-deactivate-volume' => 1 };

mkdir(root() . '/srv');
mkdir($PATH);
storages("luksmith: enc\n\tbase-path $PATH\n", "luksmith: thin\n\tbase-vg vg0\n\tbase-thinpool data\n",
    "luksmith: lvm\n\tbase-vg vg0\n", "luksmith: ceph\n\tbase-pool rbd\n", "luksmith: tank\n\tbase-zfs tank\n");
my $cfg = config();

luks_file("$PATH/vm-100-disk-0.luks", 4 * $MIB);
luks_file("$PATH/vm-100-state-snap.luks", $MIB);
luks_file("$PATH/base-101-disk-0.luks", $MIB);

# Runs $code and expects exactly these requests.
sub asks ($code, $requests, $name) {
    forget_asked();
    my $result = $code->();
    is_deeply([requests()], $requests, $name);
    forget_asked();
    return $result;
}

# A file in the place of an export, with what a storage daemon that died would leave.
sub leave_export ($name) {
    spit("$EXPORT/$name.img", '');
    return;
}

# An export that is open, as the plugin sees it.
sub with_open ($code) {
    no warnings 'redefine';
    local *PVE::Luksmith::Export::is_open = sub { return 1 };
    return $code->();
}

sub with_native ($code) {
    no warnings 'redefine';
    local *PVE::Luksmith::Wraps::is_native = sub { return 1 };
    return $code->();
}

subtest 'every method that a plugin has to have is our own' => sub {
    my @own = qw(
        type parse_volname path filesystem_path create_base clone_image alloc_image free_image volume_size_info
        volume_resize volume_snapshot volume_snapshot_rollback volume_snapshot_delete volume_snapshot_info
        volume_rollback_is_possible volume_qemu_snapshot_method volume_has_feature list_images status map_volume
        activate_volume volume_export volume_export_formats volume_import volume_import_formats rename_volume
        rename_snapshot qemu_blockdev_options
    );
    for my $name (@own) {
        isnt($CLASS->can($name), PVE::Storage::Plugin->can($name), $name);
    }
};

subtest 'paths are those of exports, and asking does not make one' => sub {
    asks(sub {
        is_deeply([PVE::Storage::path($cfg, 'enc:vm-100-disk-0')], ["$EXPORT/vm-100-disk-0.img", 100, 'images']);
        is(scalar(PVE::Storage::path($cfg, 'enc:vm-100-disk-0', 'daily')), "$EXPORT/vm-100-disk-0\@daily.img");
        is(scalar(PVE::Storage::path($cfg, 'enc:base-101-disk-0/vm-102-disk-0')), "$EXPORT/vm-102-disk-0.img");
        dies_like(sub { PVE::Storage::path($cfg, 'enc:vm-100-disk-0', '../x') }, qr/no name of a snapshot/, 'hostile');
    }, [], 'no request');
};

subtest 'a volume is made with the next free name, in bytes' => sub {
    my $volid = asks(sub { PVE::Storage::vdisk_alloc($cfg, 'enc', 100, undef, undef, 4096) },
        [{ op => 'create', volume => 'vm-100-disk-1', vmid => 100, size => 4 * $MIB }], 'create');
    is($volid, 'enc:vm-100-disk-1');
    is(asks(sub { PVE::Storage::vdisk_alloc($cfg, 'enc', '100', 'raw', 'vm-100-cloudinit', 4096) },
        [{ op => 'create', volume => 'vm-100-cloudinit', vmid => 100, size => 4 * $MIB }], 'with a name'),
        'enc:vm-100-cloudinit');
    for my $name ('vm-101-disk-0', 'base-100-disk-0', "vm-100-x\n", 'base-101-disk-0/vm-100-disk-0', '../vm-100-x') {
        asks(sub {
            dies_like(sub { PVE::Storage::vdisk_alloc($cfg, 'enc', 100, 'raw', $name, 1) }, qr/\Aillegal name/, 'name');
        }, [], 'not made');
    }
    dies_like(sub { PVE::Storage::vdisk_alloc($cfg, 'enc', 100, 'qcow2', undef, 1) }, qr/unsupported format/, 'raw only');

    answers(create => { error => { code => 'X', what => 'cannot make it', why => 'no key' }, exit => 3 });
    dies_like(sub { PVE::Storage::vdisk_alloc($cfg, 'enc', 100, 'raw', undef, 1024) },
        qr/\Acannot make it: no key\n\z/, 'a refusal reaches the user');
};

subtest 'a volume is freed, with its snapshots and what is left of its export' => sub {
    asks(sub { PVE::Storage::vdisk_free($cfg, 'enc:vm-100-disk-0') }, [{ op => 'free', volume => 'vm-100-disk-0' }], 'free');
    leave_export('vm-100-disk-0');
    asks(sub { PVE::Storage::vdisk_free($cfg, 'enc:vm-100-disk-0') },
        [{ op => 'free', volume => 'vm-100-disk-0' }], 'an export that is left is closed by the engine');
    unlink("$EXPORT/vm-100-disk-0.img");
    asks(sub { PVE::Storage::vdisk_free($cfg, 'enc:vm-100-disk-9') }, [{ op => 'free', volume => 'vm-100-disk-9' }],
        'one that is gone is the business of the engine');

    no warnings qw(redefine once);
    local *PVE::Luksmith::Base::LvmThin::rows = sub ($self, $cache) {
        return [map { { lv_name => $_, lv_attr => 'Vwi---tz--', pool_lv => 'data', lv_size => $MIB, origin => '' } }
                qw(vm-100-disk-0 snap_vm-100-disk-0_b snap_vm-100-disk-0_a)];
    };
    asks(sub { $CLASS->free_image('thin', $cfg->{ids}->{thin}, 'vm-100-disk-0', 0, 'raw') },
        [{ op => 'free', volume => 'vm-100-disk-0' }], 'snapshots are destroyed when it is known that nobody uses it');
};

subtest 'resize, rename, template, clone' => sub {
    asks(sub { PVE::Storage::volume_resize($cfg, 'enc:vm-100-disk-0', 5 * $MIB - 1, 0) },
        [{ op => 'resize', volume => 'vm-100-disk-0', size => 5 * $MIB, running => JSON::false() }], 'stopped');
    asks(sub { PVE::Storage::volume_resize($cfg, 'enc:vm-100-disk-0', 5 * $MIB, 1) },
        [{ op => 'resize', volume => 'vm-100-disk-0', size => 5 * $MIB, running => JSON::true() }], 'running');
    dies_like(sub { PVE::Storage::volume_resize($cfg, 'enc:vm-100-disk-0', $MIB, 0, 'daily') }, qr/cannot be resized/,
        'no snapshot');

    is(asks(sub { PVE::Storage::rename_volume($cfg, 'enc:vm-100-disk-0', 200) },
        [{ op => 'rename', volume => 'vm-100-disk-0', to => 'vm-200-disk-0', vmid => 200 }], 'rename'),
        'enc:vm-200-disk-0');
    is(asks(sub { PVE::Storage::rename_volume($cfg, 'enc:base-101-disk-0/vm-100-disk-0', 200, 'vm-200-disk-7') },
        [{ op => 'rename', volume => 'vm-100-disk-0', to => 'vm-200-disk-7', vmid => 200 }], 'of a linked clone'),
        'enc:base-101-disk-0/vm-200-disk-7');

    is(asks(sub { PVE::Storage::vdisk_create_base($cfg, 'enc:vm-100-disk-0') },
        [{ op => 'template', volume => 'vm-100-disk-0', to => 'base-100-disk-0', vmid => 100 }], 'template'),
        'enc:base-100-disk-0');
    dies_like(sub { PVE::Storage::vdisk_create_base($cfg, 'enc:base-101-disk-0') }, qr/template already/, 'once');

    no warnings 'redefine';
    local *PVE::Luksmith::Base::Rbd::list = sub { return {} };
    is(asks(sub { PVE::Storage::vdisk_clone($cfg, 'ceph:base-101-disk-0', 102) },
        [{ op => 'clone', volume => 'base-101-disk-0', to => 'vm-102-disk-0', vmid => 102 }], 'clone'),
        'ceph:base-101-disk-0/vm-102-disk-0');
    dies_like(sub { PVE::Storage::vdisk_clone($cfg, 'ceph:vm-101-disk-0', 102) }, qr/made of templates/, 'of a disk');
    dies_like(sub { PVE::Storage::vdisk_clone($cfg, 'ceph:base-101-disk-0', 102, 'a') }, qr/not of snapshots/, 'snapshot');
    dies_like(sub { PVE::Storage::vdisk_clone($cfg, 'enc:base-101-disk-0', 102) }, qr/has no linked clones/, 'directory');
};

subtest 'snapshots' => sub {
    for my $case (['volume_snapshot', 'snapshot'], ['volume_snapshot_rollback', 'rollback'],
        ['volume_snapshot_delete', 'delete-snapshot'])
    {
        my ($function, $op) = $case->@*;
        asks(sub { PVE::Storage->can($function)->($cfg, 'thin:vm-100-disk-0', 'daily') },
            [{ op => $op, volume => 'vm-100-disk-0', snapshot => 'daily' }], $op);
    }
    dies_like(sub { PVE::Storage::volume_snapshot($cfg, 'thin:vm-100-disk-0', "a\nb") }, qr/no name/, 'hostile name');
    dies_like(sub { PVE::Storage::volume_snapshot_rollback($cfg, 'enc:vm-100-disk-0', 'daily') }, qr/has no snapshots/,
        'a directory has none');
    is(PVE::Storage::volume_qemu_snapshot_method($cfg, 'thin:vm-100-disk-0'), 'storage');
    dies_like(sub { $CLASS->rename_snapshot({}, 'thin', 'vm-100-disk-0', 'a', 'b') }, qr/cannot be renamed/, 'rename');
};

subtest 'features, by base' => sub {
    my %names = (current => 'vm-100-disk-0', base => 'base-100-disk-0', snap => 'vm-100-disk-0');
    my %has   = (
        enc  => 'copy/base copy/current rename/current template/current',
        lvm  => 'copy/base copy/current rename/current template/current',
        thin => 'clone/base copy/base copy/current copy/snap rename/current snapshot/current template/current',
        ceph => 'clone/base copy/base copy/current copy/snap rename/current snapshot/current template/current',
        tank => 'clone/base copy/base copy/current rename/current snapshot/current template/current',
    );
    for my $storeid (sort keys %has) {
        my @found = ();
        for my $feature (qw(clone copy rename replicate snapshot sparseinit template)) {
            for my $state (qw(base current snap)) {
                push @found, "$feature/$state" if PVE::Storage::volume_has_feature($cfg, $feature,
                    "$storeid:$names{$state}", $state eq 'snap' ? 'daily' : undef, 0);
            }
        }
        is(join(' ', @found), $has{$storeid}, $storeid);
    }
};

subtest 'who activates a volume gets an export' => sub {
    asks(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0']) },
        [{ op => 'open', volume => 'vm-100-disk-0' }], 'open');
    asks(sub { with_open(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0']) }) }, [],
        'one that is open is not asked for');
    asks(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0'], undef, $START) },
        [{ op => 'open', volume => 'vm-100-disk-0' }], 'also a guest, without the wraps');
    asks(sub { PVE::Storage::map_volume($cfg, 'enc:vm-100-disk-0') }, [{ op => 'open', volume => 'vm-100-disk-0' }], 'map');
    asks(sub { is(with_open(sub { PVE::Storage::map_volume($cfg, 'enc:vm-100-disk-0') }), "$EXPORT/vm-100-disk-0.img") },
        [], 'map one that is open');
    dies_like(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-9']) }, qr/does not exist/, 'an absent one');

    answers(open => { result => { path => '/elsewhere' } });
    dies_like(sub { PVE::Storage::map_volume($cfg, 'enc:vm-100-disk-0') }, qr/exported a volume to another place/, 'place');
    forget_asked();
};

subtest 'a guest that opens its volumes itself gets none' => sub {
    with_native(sub {
        asks(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0'], undef, $START) }, [], 'no export');
        leave_export('vm-100-disk-0');
        asks(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0'], undef, $START) },
            [{ op => 'close', volume => 'vm-100-disk-0' }], 'one that was left is closed');
        answers(close => { error => { code => 'VOLUME_BUSY', what => 'in use' } });
        dies_like(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0'], undef, $START) }, qr/in use/, 'busy');
        unlink("$EXPORT/vm-100-disk-0.img");
        asks(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-state-snap'], undef, $START) },
            [{ op => 'open', volume => 'vm-100-state-snap' }], 'saved memory is read by path');
        no warnings 'redefine';
        local *PVE::Luksmith::InUse::in_use_natively = sub ($vmid, $base, $name) { return $name eq 'vm-100-disk-0' };
        asks(sub { PVE::Storage::activate_volumes($cfg, ['enc:vm-100-disk-0']) }, [],
            'no export beside the guest that runs on it');
    });
};

subtest 'a volume that is given up is not exported any more' => sub {
    asks(sub { PVE::Storage::deactivate_volumes($cfg, ['enc:vm-100-disk-0']) }, [], 'nothing to close');
    leave_export('vm-100-disk-0@daily');
    asks(sub { $CLASS->deactivate_volume('ceph', $cfg->{ids}->{ceph}, 'vm-100-disk-0', 'daily') }, [], 'another storage');
    leave_export('vm-100-disk-0');
    asks(sub { PVE::Storage::unmap_volume($cfg, 'enc:vm-100-disk-0') }, [{ op => 'close', volume => 'vm-100-disk-0' }],
        'unmap');
    unlink("$EXPORT/vm-100-disk-0.img", "$EXPORT/vm-100-disk-0\@daily.img");
    symlink('/nonexistent', "$EXPORT/vm-100-disk-0.img");
    asks(sub { PVE::Storage::deactivate_volumes($cfg, ['enc:vm-100-disk-0']) },
        [{ op => 'close', volume => 'vm-100-disk-0' }], 'what is left in whatever form');
    unlink("$EXPORT/vm-100-disk-0.img");
};

subtest 'QEMU gets the export, unless the wraps give it the passphrase' => sub {
    asks(sub {
        is_deeply(PVE::Storage::qemu_blockdev_options($cfg, 'enc:vm-100-disk-0'),
            { driver => 'file', filename => "$EXPORT/vm-100-disk-0.img" });
        no warnings 'redefine';
        local *PVE::Luksmith::Wraps::native_context = sub { return 1 };
        is_deeply($CLASS->qemu_blockdev_options($cfg->{ids}->{enc}, 'enc', 'vm-100-disk-0', undef, {}), {
            driver => 'luks', 'key-secret' => PVE::Luksmith::Names::secret_id('enc:vm-100-disk-0'),
            file => {
                driver => 'file', filename => "$PATH/vm-100-disk-0.luks", locking => 'on',
                PVE::Luksmith::Aio::kernel_has_io_uring() ? (aio => 'io_uring') : (),
            },
        });
    }, [], 'no request');
};

subtest 'a process that is not a storage daemon has nothing exported' => sub {
    spit("$EXPORT/vm-100-disk-0.pid", "$$\n");
    leave_export('vm-100-disk-0');
    ok(!PVE::Luksmith::Export::is_open('enc', 'vm-100-disk-0'), 'its number was given away again');
    spit("$EXPORT/vm-100-disk-0.pid", "1; rm -rf /\n");
    ok(!PVE::Luksmith::Export::is_open('enc', 'vm-100-disk-0'), 'no number');
    ok(PVE::Luksmith::Export::is_left('enc', 'vm-100-disk-0'), 'left');
    unlink("$EXPORT/vm-100-disk-0.pid", "$EXPORT/vm-100-disk-0.img");
};

# -- streams; a file stands where the export would be

sub through_a_file ($name, $size) {
    spit("$EXPORT/$name.img", "\xaa" x $size);
    return "$EXPORT/$name.img";
}

sub content ($path) {
    open(my $fh, '<:raw', $path) or die "$path: $!\n";
    local $/ = undef;
    return readline($fh);
}

# Without what dd says.
sub quietly ($code) {
    open(my $saved, '>&', \*STDERR) or die;
    open(STDERR, '>', '/dev/null') or die;
    my $result = eval { $code->() };
    my $error  = $@;
    open(STDERR, '>&', $saved) or die;
    die $error if $error;
    return $result;
}

subtest 'a volume leaves as its size and its decrypted data' => sub {
    is_deeply([$CLASS->volume_export_formats($cfg->{ids}->{enc}, 'enc', 'vm-100-disk-0')], ['raw+size']);
    is_deeply([$CLASS->volume_export_formats($cfg->{ids}->{enc}, 'enc', 'vm-100-disk-0', 'a')], [], 'no snapshot');
    is_deeply([$CLASS->volume_import_formats($cfg->{ids}->{enc}, 'enc', 'vm-100-disk-0', undef, undef, 1)], []);
    through_a_file('vm-100-disk-0', 4 * $MIB + 7);
    open(my $out, '>', root() . '/stream') or die;
    quietly(sub { PVE::Storage::volume_export($cfg, $out, 'enc:vm-100-disk-0', 'raw+size') });
    close($out);
    my $stream = content(root() . '/stream');
    is(unpack('Q<', $stream), 4 * $MIB, 'size');
    ok(substr($stream, 8) eq "\xaa" x (4 * $MIB), 'data, and no byte more');

    through_a_file('vm-100-disk-0', $MIB);
    open($out, '>', '/dev/null') or die;
    dies_like(sub { quietly(sub { PVE::Storage::volume_export($cfg, $out, 'enc:vm-100-disk-0', 'raw+size') }) },
        qr/only $MIB of 4194304 bytes were copied/, 'a short one');
    dies_like(sub { PVE::Storage::volume_export($cfg, $out, 'enc:vm-100-disk-0', 'qcow2+size') }, qr/not exported as/,
        'another format');
    unlink("$EXPORT/vm-100-disk-0.img");
    forget_asked();
};

# The engine is a fake: the volume that it "makes" was put there.
sub import_of ($bytes, $size, $volname, $allow_rename = 0) {
    open(my $in, '<', spit(root() . '/stream', pack('Q<', $size) . $bytes)) or die;
    return quietly(sub {
        PVE::Storage::volume_import($cfg, $in, "enc:$volname", 'raw+size', undef, undef, 0, $allow_rename);
    });
}

subtest 'a volume arrives under a key of its own, zeros and all' => sub {
    no warnings 'redefine';
    local *PVE::Luksmith::Base::Directory::activate = sub { return };
    my $export = through_a_file('vm-300-disk-0', 3 * $MIB);
    my $bytes  = "\0" x (2 * $MIB) . 'end' . "\0" x ($MIB - 3);
    is(import_of($bytes, 3 * $MIB, 'vm-300-disk-0'), 'enc:vm-300-disk-0');
    ok(content($export) eq $bytes, 'zeros are written over what was there');
    is_deeply([map { $_->{op} } requests()], [qw(create open close)]);
    is((requests())[0]->{size}, 3 * $MIB);
    forget_asked();
    $bytes = 'x' x $MIB;

    dies_like(sub { import_of($bytes, $MIB, 'vm-100-disk-0') }, qr/already exists/, 'nothing is replaced');
    is_deeply([requests()], []);
    through_a_file('vm-100-disk-1', $MIB);
    is(import_of($bytes, $MIB, 'vm-100-disk-0', 1), 'enc:vm-100-disk-1', 'another name');
    forget_asked();

    through_a_file('vm-301-disk-0', $MIB);
    is(import_of($bytes, $MIB, 'base-301-disk-0'), 'enc:base-301-disk-0', 'a template');
    is_deeply([map { $_->{op} } requests()], [qw(create open close close template)]);
    forget_asked();

    is(import_of($bytes, $MIB, 'base-101-disk-0/vm-300-disk-0'), 'enc:vm-300-disk-0', 'a linked clone becomes whole');
    forget_asked();

    dies_like(sub { import_of('short', $MIB, 'vm-300-disk-0') }, qr/only 5 of $MIB bytes/, 'a stream that ends early');
    is_deeply([map { $_->{op} } requests()], [qw(create open free)], 'is undone');
    forget_asked();
};

done_testing();
