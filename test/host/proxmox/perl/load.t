#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# PVE::Storage loads the plugin in every program of Proxmox VE, of every version, as root and as www-data.
use v5.36;
use LuksmithTest;
use Test::More;

my ($perl) = $^X =~ m/\A(.*)\z/;
my @libraries = map { m/\A(.*)\z/ ? "-I$1" : () } grep { !ref } @INC;

# Loads PVE::Storage and runs a program; returns what it writes to stdout and stderr.
sub output ($program, @before) {
    my $pid = open(my $fh, '-|') // die "fork: $!\n";
    if (!$pid) {
        open(STDERR, '>&', \*STDOUT) or die;
        exec(@before, $perl, '-T', @libraries, '-MPVE::Storage', '-e', $program) or die "exec: $!\n";
    }
    local $/ = undef;
    my $text = readline($fh) // '';
    close($fh);
    return $text;
}

my $TYPES = 'print join(q( ), PVE::Storage::Plugin->lookup_types()->@*), q( ), '
    . 'PVE::Storage::Custom::LuksmithPlugin->api()';

is(output($TYPES), 'dir luksmith 15', 'Proxmox VE 9');
{
    local $ENV{PVE_STAND_IN_APIVER} = 11;
    is(output($TYPES), 'dir luksmith 11', 'Proxmox VE 8');
}
{
    local $ENV{PVE_STAND_IN_APIVER} = 16;
    like(output($TYPES), qr/implementing an older storage API\n.*dir luksmith 15\z/s, 'a newer one, which warns');
}
is(output($TYPES, '/usr/bin/setpriv', '--reuid=33', '--regid=33', '--clear-groups', '--'), 'dir luksmith 15',
    'as www-data, which reads nothing of root');

local $ENV{PVE_STAND_IN_APIVER} = 11;
mkdir(root() . '/srv');
mkdir(root() . '/srv/enc');
luks_file(root() . '/srv/enc/vm-100-disk-0.luks', 1024 * 1024);
storages("luksmith: enc\n\tbase-path " . root() . "/srv/enc\n");
my $engine = "BEGIN { \$PVE::Luksmith::Paths::RUN = '$PVE::Luksmith::Paths::RUN'; "
    . "\$PVE::Luksmith::Paths::ENGINE = '$PVE::Luksmith::Paths::ENGINE' } ";
is(output("$engine PVE::Storage::activate_volumes(PVE::Storage::config(), ['enc:vm-100-disk-0'])"), '',
    'Proxmox VE 8 has no hints');
is_deeply([requests()], [{ op => 'open', volume => 'vm-100-disk-0' }], 'so a volume gets an export');

done_testing();
