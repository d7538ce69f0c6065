#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# plugin-calls.pl ROUNDS VOLUME: how long what Proxmox VE's daemons ask all the time takes. `enc` is a storage of type
# luksmith. `plain` is a directory: status and path by the stand-in; size and list by what Proxmox VE's own plugin for
# directories does for them, which is to run `qemu-img info` for each file. Prints { listed, times: { CALL: { enc: [ms],
# plain: [ms] } } } as JSON, a time for each round.
use v5.36;

BEGIN { $ENV{PVE_STAND_IN_ROOT} = '/etc/pve' }

use JSON ();
use PVE::Storage;
use PVE::Tools;
use Time::HiRes qw(time);

my ($rounds, $volume) = @ARGV;
my ($vmid) = $volume =~ m/\Avm-([0-9]+)-/;
my $cfg    = PVE::Storage::config();
my @names  = map { $_->{volid} =~ s/\A.*://r } images()->@*;
my %volid  = (enc => "enc:$volume", plain => "plain:$vmid/$volume.raw");

# How often in a round, so that clocks do not matter.
my %calls = (status => 5, path => 50, volume_size_info => 5, list_images => 1);
my %asks  = (
    status           => sub ($storeid) { plugin($storeid)->status($storeid, $cfg->{ids}->{$storeid}, {}) },
    path             => sub ($storeid) { PVE::Storage::path($cfg, $volid{$storeid}) },
    volume_size_info => sub ($storeid) { $storeid eq 'enc' ? size_info() : file_size_info($volume) },
    list_images      => sub ($storeid) { $storeid eq 'enc' ? images() : map { file_size_info($_) } @names },
);

sub plugin ($storeid) { return PVE::Storage::Plugin->lookup($cfg->{ids}->{$storeid}->{type}) }

sub size_info () {
    my ($plugin, $scfg, $storeid, $volname) = PVE::Storage::volume($cfg, $volid{enc});
    my @info = $plugin->volume_size_info($scfg, $storeid, $volname);
    return $info[0];
}

sub images () { return plugin('enc')->list_images('enc', $cfg->{ids}->{enc}, $vmid, undef, {}) }

sub file_size_info ($name) {
    my $out = '';
    my @command = ('/usr/bin/qemu-img', 'info', '--output=json', '-f', 'raw');
    my $path = "$cfg->{ids}->{plain}->{path}/images/$vmid/$name.raw";
    PVE::Tools::run_command([@command, $path], outfunc => sub ($line) { $out .= $line });
    return JSON::decode_json($out)->{'virtual-size'};
}

my %times;
for my $round (0 .. $rounds) {
    for my $call (sort keys %asks) {
        for my $storeid (qw(enc plain)) {
            my $begun = time();
            $asks{$call}->($storeid) for 1 .. $calls{$call};

            # the first round is for whoever comes first
            push $times{$call}->{$storeid}->@*, (time() - $begun) * 1000 if $round > 0;
        }
    }
}
say JSON->new->canonical->encode({ listed => scalar(@names), times => \%times });
