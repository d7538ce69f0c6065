#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# What LVM is asked, and what is made of its reports. The programs are fakes with reports as LVM 2.03 prints them.
use v5.36;
use JSON ();
use LuksmithTest;
use PVE::Storage;
use Test::More;

my $GIB = 1024 * 1024 * 1024;
my $MIB = 1024 * 1024;

storages("luksmith: lvm\n\tbase-vg vg0\n", "luksmith: thin\n\tbase-vg vg0\n\tbase-thinpool data\n");
my $cfg = config();

sub lv ($name, $attr, %more) {
    return {
        lv_name => $name, lv_attr => $attr, lv_size => $GIB + 2 * $MIB, lv_time => '1700000000', pool_lv => '',
        origin => '', data_percent => '', lv_tags => '', map { $_ => "$more{$_}" } keys %more,
    };
}

my @LVS = (
    lv('root',              '-wi-ao----'),
    lv('vm-100-disk-0',     '-wi-------'),
    lv('vm-101-disk-0',     '-wi-a-----', lv_size => 3 * $GIB),
    lv('data',              'twi-aotz--', lv_size => 100 * $GIB, data_percent => '25.00'),
    lv('vm-200-disk-0',     'Vwi-a-tz--', pool_lv => 'data', data_percent => '50.00'),
    lv('base-201-disk-0',   'Vri---tz-k', pool_lv => 'data', data_percent => '0.00'),
    lv('vm-202-disk-0',     'Vwi-a-tz--', pool_lv => 'data', origin => 'base-201-disk-0', data_percent => '1.00'),
    lv('vm-203-disk-0',     'Vwi-a-tz--', pool_lv => 'data', origin => 'snap_vm-203-disk-0_a', data_percent => '1.00'),
    lv('snap_vm-200-disk-0_daily',   'Vri---tz-k', pool_lv => 'data', origin => 'vm-200-disk-0', data_percent => '9'),
    lv('snap_vm-200-disk-0_x_daily', 'Vri---tz-k', pool_lv => 'data', data_percent => '9'),
    lv('vm-200-disk-0_x',   'Vwi-a-tz--', pool_lv => 'data', data_percent => '50.00'),
    lv('snap_vm-200-disk-0_1st',     'Vri---tz-k', pool_lv => 'data', data_percent => '9'),
    lv('snap_vm-200-disk-01_daily',  'Vri---tz-k', pool_lv => 'data', data_percent => '9'),
    lv('vm-204-disk-0',     'Vwi-a-tz--', pool_lv => 'other', data_percent => '1.00'),
);

sub report ($kind, @rows) { return JSON->new->pretty->encode({ report => [{ $kind => \@rows }] }) }

my %PROGRAMS = (
    '/sbin/lvs' => sub (@) { return report('lv', @LVS) },
    '/sbin/vgs' => sub (@) {
        return report('vg', { vg_name => 'vg0', vg_size => 200 * $GIB . '', vg_free => 50 * $GIB . '' });
    },
    '/sbin/lvchange' => sub (@) { return '' },
);

subtest 'one lvs and one vgs for a listing' => sub {
    my $list;
    my @calls = with_programs(\%PROGRAMS, sub { $list = PVE::Storage::vdisk_list($cfg, 'lvm')->{lvm} });
    is_deeply([sort map { $_->[0] } @calls], ['/sbin/lvs', '/sbin/vgs']);
    is_deeply([map { [$_->@{qw(volid size)}] } $list->@*],
        [['lvm:vm-100-disk-0', $GIB], ['lvm:vm-101-disk-0', 3 * $GIB - 2 * $MIB]], 'thick volumes, without the header');
    my ($lvs) = grep { $_->[0] eq '/sbin/lvs' } @calls;
    is_deeply([$lvs->@[1 .. 7]],
        ['--reportformat', 'json', '--units', 'b', '--nosuffix', '--config', 'report/time_format="%s"']);
    is_deeply([$lvs->@[-2, -1]], ['--', 'vg0'], 'of one volume group');
    is($list->[0]->{ctime}, 1700000000);
};

subtest 'thin volumes of the pool, and templates of linked clones' => sub {
    my ($list, $info);
    my @calls = with_programs(\%PROGRAMS, sub {
        $list = PVE::Storage::vdisk_list($cfg, 'thin')->{thin};
        $info = PVE::Storage::volume_snapshot_info($cfg, 'thin:vm-200-disk-0');
    });
    is_deeply([map { [$_->@{qw(volid used)}] } $list->@*], [
        ['thin:base-201-disk-0', 0],
        ['thin:vm-200-disk-0', ($GIB + 2 * $MIB) / 2],
        ['thin:vm-200-disk-0_x', ($GIB + 2 * $MIB) / 2],
        ['thin:base-201-disk-0/vm-202-disk-0', int(($GIB + 2 * $MIB) / 100)],
        ['thin:vm-203-disk-0', int(($GIB + 2 * $MIB) / 100)],
    ]);
    is_deeply($info, { daily => { timestamp => 1700000000 } }, 'its own snapshots, not those of a volume with a longer name');
    with_programs(\%PROGRAMS, sub {
        ok(PVE::Storage::volume_is_base_and_used($cfg, 'thin:base-201-disk-0'), 'a template in use is known');
    });
};

subtest 'a clone is told by its tag when it was rolled back' => sub {
    local $LVS[7]->{lv_tags} = 'other,luksmith.template=base-201-disk-0';
    local $LVS[6]->{lv_tags} = 'luksmith.template=../x';
    with_programs(\%PROGRAMS, sub {
        my @found = map { $_->{volid} } PVE::Storage::vdisk_list($cfg, 'thin')->{thin}->@*;
        is_deeply([grep { m/20[23]/ } @found], ['thin:vm-202-disk-0', 'thin:base-201-disk-0/vm-203-disk-0']);
    });
};

subtest 'one volume, in its time, with untainted numbers' => sub {
    my %one = (%PROGRAMS, '/sbin/lvs' => sub (@arguments) {
        return report('lv', grep { "vg0/$_->{lv_name}" eq $arguments[-1] } @LVS);
    });
    my @sizes;
    my @calls = with_programs(\%one, sub { @sizes = PVE::Storage::volume_size_info($cfg, 'lvm:vm-100-disk-0', 7) });
    is(scalar(@calls), 1, 'one lvs');
    is_deeply([$calls[0]->@[-2, -1]], ['vg0/vm-100-disk-0', 'timeout 7'], 'of that volume, for so long');
    is($sizes[0], $GIB, 'its size');
    untainted(@sizes);
    with_programs(\%one, sub { untainted(PVE::Storage::volume_size_info($cfg, 'thin:base-201-disk-0/vm-202-disk-0')) });
    with_programs(\%PROGRAMS, sub {
        untainted(PVE::Storage::vdisk_list($cfg, $_)->{$_}, [values PVE::Storage::storage_info($cfg)->{$_}->%*])
            for qw(lvm thin);
        untainted(PVE::Storage::volume_snapshot_info($cfg, 'thin:vm-200-disk-0'));
    });
};

subtest 'space' => sub {
    with_programs(\%PROGRAMS, sub {
        my $info = PVE::Storage::storage_info($cfg);
        is_deeply($info->{lvm},  { total => 200 * $GIB, avail => 50 * $GIB, used => 150 * $GIB, active => 1 });
        is_deeply($info->{thin}, { total => 100 * $GIB, avail => 75 * $GIB, used => 25 * $GIB,  active => 1 });
    });
};

subtest 'volumes are activated on this node, snapshots and templates too' => sub {
    my $base = PVE::Luksmith::Base::of($cfg->{ids}->{thin}, 'thin');
    my @calls = with_programs(\%PROGRAMS, sub { $base->activate('vm-200-disk-0', 'daily') });
    is_deeply(\@calls, [
        ['/sbin/lvchange', '-aly', '-K', '--', 'vg0/snap_vm-200-disk-0_daily'],
    ]);
    my $thick = PVE::Luksmith::Base::of($cfg->{ids}->{lvm}, 'lvm');
    is_deeply([with_programs(\%PROGRAMS, sub { $thick->activate('vm-100-disk-0') })], [
        ['/sbin/lvchange', '-aly', '-K', '--', 'vg0/vm-100-disk-0'],
        ['/sbin/lvchange', '--refresh', '--', 'vg0/vm-100-disk-0'],
    ], 'which another node may have enlarged');
    is_deeply([with_programs(\%PROGRAMS, sub { $base->deactivate('vm-200-disk-0') })], [], 'an absent device is inactive');
    is_deeply($base->blockdev('vm-200-disk-0', 'daily'),
        { driver => 'host_device', filename => '/dev/vg0/snap_vm-200-disk-0_daily' });
    dies_like(sub { PVE::Luksmith::Base::of($cfg->{ids}->{lvm}, 'lvm')->path_of('vm-100-disk-0', 'daily') },
        qr/only in thin pools/, 'no snapshot of a thick volume');
};

subtest 'what QEMU uses to read and write' => sub {
    local *PVE::Luksmith::Aio::kernel_has_io_uring = sub { return 1 };
    my ($thick, $thin) = map { PVE::Luksmith::Base::of($cfg->{ids}->{$_}, $_) } qw(lvm thin);
    my $aio = sub ($base, %drive) { PVE::Luksmith::Aio::of($base, $base->blockdev('vm-1-x'), \%drive)->{aio} };
    is($aio->($thin), 'io_uring', 'io_uring');
    is($aio->($thick), 'native', 'but for thick volumes, which hang with it');
    is($aio->($thick, cache => 'writeback'), undef, 'for which the page cache leaves only threads');
    is($aio->($thick, aio => 'io_uring'), 'io_uring', 'unless the drive says so');
    is($aio->($thin, aio => $_), $_, "$_ as the drive says") for qw(native threads);
    is($aio->($thin, aio => 'native', cache => 'writeback'), 'io_uring', 'native needs the cache to be bypassed');
    is($aio->($thin, aio => 'native', cache => 'directsync'), 'native', 'as directsync does');
    is($aio->($thin, aio => 'native', media => 'cdrom'), 'io_uring', 'and a CD-ROM drive does not');
    local *PVE::Luksmith::Aio::kernel_has_io_uring = sub { return 0 };
    is($aio->($thin), undef, "without it QEMU's default");
    is($aio->($thin, aio => 'io_uring'), undef, 'whatever the drive says');
};

subtest 'LVM itself knows all these options' => sub {
    my $other = 'luksmith-has-no-such-group';
    storages("luksmith: lvm\n\tbase-vg $other\n");
    my $base = PVE::Luksmith::Base::of(config()->{ids}->{lvm}, 'lvm');
    dies_like($_, qr/Cannot process volume group $other/, 'only the group is missing')
        for sub { $base->list({}) }, sub { $base->status({}) }, sub { $base->activate('vm-100-disk-0') },
        sub { $base->lines(['/sbin/lvchange', '--refresh', '--', "$other/x"], 'refresh') },
        sub { $base->lines(['/sbin/lvchange', '-aln', '--', "$other/x"], 'deactivate') };
};

subtest 'LVM that fails is an error' => sub {
    my %failing = (%PROGRAMS, '/sbin/vgs' => sub (@) { die "Volume group \"vg0\" not found\n" });
    with_programs(\%failing, sub {
        dies_like(sub { PVE::Storage::activate_storage($cfg, 'lvm') },
            qr/cannot ask LVM about volume group 'vg0': Volume group "vg0" not found/, 'no volume group');
    });
    with_programs({ %PROGRAMS, '/sbin/lvs' => sub (@) { return 'oops' } }, sub {
        dies_like(sub { PVE::Storage::vdisk_list($cfg, 'lvm') }, qr/gave no report/, 'no JSON');
    });
    my $absent = sub (@) { die qq(  Failed to find logical volume "vg0/vm-999-disk-0"\n) };
    with_programs({ %PROGRAMS, '/sbin/lvs' => $absent }, sub {
        dies_like(sub { PVE::Storage::volume_size_info($cfg, 'lvm:vm-999-disk-0') }, qr/does not exist/, 'no volume');
    });
    with_programs({ %PROGRAMS, '/sbin/lvs' => sub (@) { die "locked\n" } }, sub {
        dies_like(sub { PVE::Storage::volume_size_info($cfg, 'lvm:vm-999-disk-0') }, qr/cannot ask LVM .*: locked/, 'else');
    });
};

is_deeply([asked()], [], 'the engine was not asked for any of this');
done_testing();
