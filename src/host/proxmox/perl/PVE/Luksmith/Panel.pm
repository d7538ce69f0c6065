package PVE::Luksmith::Panel;

# SPDX-License-Identifier: Apache-2.0
# Luksmith in Proxmox VE's API and web interface, which have no place for others: REST methods beside their own, and in
# pveproxy one more script on the page. No file of Proxmox VE is changed, and whatever fails here is said once in the log
# and leaves what there is as it was.

use v5.36;

use PVE::Luksmith::Paths;
use PVE::Luksmith::Wraps;

my $ADDRESS = '/luksmith/';
my $SCRIPT  = 'luksmith-panel.js';

# Whether pveproxy was told where the script is.
our $is_served = 0;

# Once in each process, when all classes of the API are there.
sub install () {
    attempt(sub {
        require PVE::Luksmith::Api::Cluster;
        PVE::API2::Cluster->register_method({ subclass => 'PVE::Luksmith::Api::Cluster', path => 'luksmith' });
    });
    attempt(sub {
        require PVE::Luksmith::Api::Guest;
        PVE::API2::Qemu->register_method({ subclass => 'PVE::Luksmith::Api::Guest', path => '{vmid}/luksmith' });
    });
    PVE::Luksmith::Wraps::wrap('PVE::Service::pveproxy::init',      \&serve);
    PVE::Luksmith::Wraps::wrap('PVE::Service::pveproxy::get_index', \&show);
    return;
}

# Around pveproxy's init, which says what directories there are.
sub serve ($original, @arguments) {
    my @result = wantarray ? $original->(@arguments) : scalar($original->(@arguments));
    attempt(sub {
        my $directories = $arguments[0]->{server_config}->{dirs};
        die "pveproxy has no list of directories\n" if ref($directories) ne 'HASH';
        $directories->{$ADDRESS} = directory();
        $is_served = 1;
    });
    return wantarray ? @result : $result[0];
}

# Around pveproxy's get_index, which answers a browser with a page.
sub show ($original, @arguments) {
    my @result = wantarray ? $original->(@arguments) : scalar($original->(@arguments));
    attempt(sub { add_script($result[0]) }) if $is_served;
    return wantarray ? @result : $result[0];
}

# After the script that has Proxmox VE's panels. A page without it is none of ours: a console, or that of a phone.
sub add_script ($response) {
    my $page = $response->content;
    return if $page !~ m{<script[^>]+/pve2/js/pvemanagerlib\.js[^>]*></script>};
    my $end = $+[0];
    my $tag = qq{<script type="text/javascript" src="$ADDRESS$SCRIPT?ver=} . version() . '"></script>';
    substr($page, $end, 0, "\n    $tag");
    $response->content($page);
    return;
}

# Another one after each installation, so that no browser keeps the script of an earlier one.
sub version () {
    my $path = directory() . $SCRIPT;
    die "www-data cannot read $path\n" if !-r $path;
    return (stat(_))[9];
}

sub directory () { return "$PVE::Luksmith::Paths::ENGINE/dist/ui/proxmox/" }

sub attempt ($code) {
    local $@;
    eval { $code->(); 1 } or PVE::Luksmith::Wraps::warn_once("luksmith is not in the web interface: $@");
    return;
}

1;
