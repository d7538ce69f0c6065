#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# Names of volumes, and what is none.
use v5.36;
use LuksmithTest;
use PVE::Luksmith::Names;
use PVE::Storage;
use Scalar::Util qw(tainted);
use Test::More;

my $CLASS = 'PVE::Storage::Custom::LuksmithPlugin';

my %good = (
    'vm-100-disk-0'                   => ['images', 'vm-100-disk-0',   100, undef, undef, '', 'raw'],
    'base-100-disk-0'                 => ['images', 'base-100-disk-0', 100, undef, undef, 1,  'raw'],
    'vm-100-state-before_update'      => ['images', 'vm-100-state-before_update', 100, undef, undef, '', 'raw'],
    'vm-999999999-cloudinit'          => ['images', 'vm-999999999-cloudinit', 999999999, undef, undef, '', 'raw'],
    'base-100-disk-0/vm-101-disk-0'   => ['images', 'vm-101-disk-0', 101, 'base-100-disk-0', 100, '', 'raw'],
    'base-100-disk-0/base-101-disk-0' => ['images', 'base-101-disk-0', 101, 'base-100-disk-0', 100, 1, 'raw'],
);
is_deeply([$CLASS->parse_volname($_)], $good{$_}, $_) for sort keys %good;

my @bad = (
    '', 'vm-100', 'vm-100-', 'vm-99-disk-0', 'vm-0100-disk-0', 'vm-100-disk-0.luks/..', '../vm-100-disk-0',
    "vm-100-disk-0\n", "vm-100-disk\n-0", 'vm-100-../x', 'vm-100-.hidden', 'subvol-100-disk-0', 'snap_vm-100-disk-0_a',
    'vm-101-disk-0/vm-100-disk-0', '100/vm-100-disk-0.raw', 'base-100-disk-0/vm-101-disk-0/x', 'base-99-disk-0/vm-101-disk-0', 'vm-100-disk 0',
    "vm-\x{661}00-disk-0", 'vm-100-' . 'x' x 102,
);
for my $name (@bad) {
    dies_like(sub { $CLASS->parse_volname($name) }, qr/\Aunable to parse luksmith volume name '[ -~]*'\n\z/,
        PVE::Luksmith::Names::printable("not '$name'"));
}

# $^X is tainted, and so is what is made with it
my $taint = substr($^X, 0, 0);
ok(tainted("vm-100-disk-0$taint"), 'the test has something tainted');
ok(!tainted(PVE::Luksmith::Names::parse("vm-100-disk-0$taint")->{name}), 'a parsed name is untainted');
ok(!tainted(PVE::Luksmith::Names::parse("base-100-a/vm-100-disk-0$taint")->{base}), 'and that of its template');
ok(!tainted(PVE::Luksmith::Names::snapshot("daily$taint")), 'and that of a snapshot');
dies_like(sub { PVE::Luksmith::Names::snapshot($_) }, qr/is no name of a snapshot/, "not snapshot '$_'")
    for '', '1st', 'a b', 'a/b', 'a' x 41;

my %numbers = (12 => 12, '12.00' => 12, '0' => 0, '' => 0, '-1' => 0, "1\n" => 0, '12 34' => 0, '1e9' => 0, x => 0);
is(PVE::Luksmith::Names::number("$_$taint"), $numbers{$_}, "number '" . s/\n/?/r . "'") for sort keys %numbers;
is(PVE::Luksmith::Names::number(undef), 0, 'no number');
is(PVE::Luksmith::Names::number('18446744073709551615'), 18446744073709551615, 'the largest');
ok(!tainted(PVE::Luksmith::Names::number("12$taint")), 'a number is untainted');

is(PVE::Luksmith::Names::secret_id('enc:vm-100-disk-0'), 'luksmith-9d4c8dcdfe1e3a71d2fed0863a6785', 'secret object');

done_testing();
