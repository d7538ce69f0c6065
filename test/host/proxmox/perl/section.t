#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# The section of a storage in storage.cfg, and the engine's record of it.
use v5.36;
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $CLASS = 'PVE::Storage::Custom::LuksmithPlugin';
my $PATH  = root() . '/srv/enc';

sub made (%options) {
    my $settings = $CLASS->check_config('enc', { content => 'images', %options }, 1, 1);
    $CLASS->on_add_hook('enc', $settings);
    return $settings;
}

# As `pvesm add` does it.
sub add ($storeid, %options) {
    my $scfg = $CLASS->check_config($storeid, { %options }, 1, 0);
    my $cfg  = config();
    $cfg->{ids}->{$storeid} = $scfg;
    $CLASS->on_add_hook($storeid, $scfg);
    PVE::Storage::activate_storage($cfg, $storeid);
    PVE::Storage::write_config($cfg);
    return;
}

subtest 'the type is registered, for images only' => sub {
    is(PVE::Storage::Plugin->lookup('luksmith'), $CLASS);
    is($CLASS->api, PVE::Storage::APIVER(), 'as the API that is there');
    is_deeply($CLASS->plugindata->{content}, [{ images => 1 }, { images => 1 }]);
    is_deeply($CLASS->get_formats({ type => 'luksmith', format => 'qcow2' }, 'enc'),
        { default => 'raw', valid => { raw => 1 } });
    is_deeply(PVE::Storage::Plugin::sensitive_properties('luksmith'), [], 'no secret is in it');
    ok(!$CLASS->storage_can_replicate({}, 'enc', 'raw'), 'no replication');
};

subtest 'exactly one base' => sub {
    dies_like(sub { made() }, qr/exactly one of .*, not none$/, 'none');
    dies_like(sub { made('base-path' => $PATH, 'base-vg' => 'vg') }, qr/not base-path and base-vg$/, 'two');
    dies_like(sub { made('base-path' => $PATH, 'base-thinpool' => 'data') }, qr/base-thinpool needs base-vg/, 'pool');
    dies_like(sub { made('base-zfs' => 'a', "base-$_" => '/x') }, qr/base-$_ needs base-pool/, $_)
        for qw(namespace conf user);
    dies_like(sub { made('base-vg' => "vg\n--x") }, qr/base-vg: unusable value/, 'hostile value');
    dies_like(sub { made('base-path' => 'srv') }, qr/base-path: unusable value/, 'relative path');
    dies_like(sub { made('base-path' => $PATH, 'snapshot-as-volume-chain' => 1) },
        qr/unexpected property 'snapshot-as-volume-chain'/, 'chains of volumes are refused');
    dies_like(sub { $CLASS->check_config('enc', { 'base-path' => '/b' }, 0, 1) }, qr/fixed parameter/, 'a base stays');
    is(made('base-path' => $PATH)->{shared}, undef, 'a directory is local');
    is(made('base-pool' => 'rbd')->{shared}, 1, 'a Ceph pool is shared by nature');
    forget_asked();
};

subtest 'a section that somebody broke by hand hurts nobody else' => sub {
    storages("luksmith: bad\n\tbase-path /a\n\tbase-vg vg\n", "luksmith: enc\n\tbase-path $PATH\n");
    my $cfg = config();
    dies_like(sub { PVE::Storage::activate_storage($cfg, 'bad') }, qr/exactly one of/, 'it cannot be used');
    PVE::Storage::activate_storage($cfg, 'enc');
    PVE::Storage::write_config($cfg);
    is(config()->{ids}->{bad}->{'base-vg'}, 'vg', 'and is still there when storage.cfg is written');
    storages();
};

subtest 'a storage is recorded when it is made, when it changes, and when it goes' => sub {
    add('enc', 'base-path' => $PATH, 'encryption-profile' => 'strong');
    ok(-d $PATH, 'the directory is made');
    is((stat($PATH))[2] & oct('0777'), oct('0700'), 'for root alone');
    my ($asked) = asked();
    is_deeply($asked->{input}, {
        version => 1, op => 'record-storage',
        storage => { id => 'enc', base => { type => 'directory', path => $PATH }, profile => 'strong' },
    });
    forget_asked();

    my $scfg = config()->{ids}->{enc};
    is($scfg->{'base-path'}, $PATH, 'storage.cfg has it');
    $CLASS->on_update_hook_full('enc', $scfg, { content => { images => 1 } }, ['bwlimit'], {});
    is((asked())[0]->{input}->{op}, 'record-storage', 'any change: the record may be damaged, and this is what mends it');
    forget_asked();
    $CLASS->on_update_hook_full('enc', $scfg, { 'encryption-profile' => 'other' }, undef, {});
    is((asked())[0]->{input}->{storage}->{profile}, 'other', 'a changed profile');
    forget_asked();
    $CLASS->on_update_hook_full('enc', $scfg, {}, ['encryption-profile'], {});
    my ($deleted) = asked();
    is($deleted->{input}->{op}, 'record-storage');
    ok(!exists($deleted->{input}->{storage}->{profile}), 'a deleted profile');
    is($scfg->{'encryption-profile'}, 'strong', 'the section itself is not touched');
    forget_asked();

    $CLASS->on_delete_hook('enc', $scfg);
    is_deeply([map { $_->{input} } asked()], [{ version => 1, op => 'forget-storage', storage => { id => 'enc' } }]);
    forget_asked();
    $CLASS->on_delete_hook('bad', { type => 'luksmith', 'base-path' => '/a', 'base-vg' => 'vg' });
    is((asked())[0]->{input}->{storage}->{id}, 'bad', 'a section that describes no base can be removed');
    forget_asked();
};

subtest 'a storage that cannot be recorded is not made' => sub {
    answers('record-storage' => { error => { code => 'X', what => 'no quorum' } });
    dies_like(sub { add('two', 'base-path' => "$PATH-two") }, qr/no quorum/, 'error');
    ok(!config()->{ids}->{two}, 'nothing in storage.cfg');
    forget_asked();
};

subtest 'Proxmox VE 8, where the section is not given to the hook' => sub {
    storages("luksmith: enc\n\tbase-path $PATH\n\tencryption-profile strong\n");
    $CLASS->on_update_hook('enc', { disable => 1 });
    is((asked())[0]->{input}->{storage}->{profile}, 'strong', 'it is read');
    forget_asked();
    $CLASS->on_update_hook('enc', { 'encryption-profile' => 'other' });
    is_deeply((asked())[0]->{input}->{storage},
        { id => 'enc', base => { type => 'directory', path => $PATH }, profile => 'other' });
    forget_asked();
};

subtest 'sections of all bases' => sub {
    storages(
        "luksmith: dir\n\tbase-path $PATH\n", "luksmith: lvm\n\tbase-vg vg0\n",
        "luksmith: thin\n\tbase-vg vg0\n\tbase-thinpool data\n",
        "luksmith: ceph\n\tbase-pool rbd\n\tbase-namespace ns\n\tbase-conf /etc/ceph/b.conf\n\tbase-user enc\n",
        "luksmith: tank\n\tbase-zfs tank/enc\n",
    );
    my $ids  = config()->{ids};
    my %json = map { $_ => PVE::Luksmith::Base::of($ids->{$_}, $_)->storage_json->{base} } qw(dir lvm thin ceph tank);
    is_deeply(\%json, {
        dir  => { type => 'directory', path => $PATH },
        lvm  => { type => 'lvm', vg => 'vg0' },
        thin => { type => 'lvm-thin', vg => 'vg0', thinpool => 'data' },
        ceph => { type => 'rbd', pool => 'rbd', namespace => 'ns', conf => '/etc/ceph/b.conf', user => 'enc' },
        tank => { type => 'zfs', dataset => 'tank/enc' },
    });
    is($CLASS->filesystem_path($ids->{thin}, 'vm-100-disk-0'), root() . '/run/luksmith/export/thin/vm-100-disk-0.img',
        'a plugin that is asked without the storage finds it');
};

done_testing();
