#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# How the panel gets onto the page of Proxmox VE, and that nothing of ours can take the page away.
use v5.36;
use LuksmithTest;
use PVE::Service::pveproxy;
use Test::More;

my ($perl) = $^X =~ m/\A(.*)\z/;
my @libraries = map { m/\A(.*)\z/ ? "-I$1" : () } grep { !ref } @INC;
my $TAG       = qr{<script type="text/javascript" src="/luksmith/luksmith-panel\.js\?ver=([0-9]+)"></script>};
my $script    = root() . '/engine/dist/ui/proxmox/luksmith-panel.js';
my $stock     = $PVE::Service::pveproxy::page;

spit($script, "(function () {})();\n");
my ($proxy, @warnings);

# As the daemon does, with what it says.
sub start () {
    @warnings = ();
    local $SIG{__WARN__} = sub { push @warnings, $_[0] };
    $proxy = PVE::Service::pveproxy->new;
    $proxy->init;
    return;
}

sub page () {
    local $SIG{__WARN__} = sub { push @warnings, $_[0] };
    my ($response) = $proxy->{server_config}->{pages}->{'/'}->('server', 'request', {});
    return $response->content;
}

start();

subtest 'one script more, after those of Proxmox VE' => sub {
    my $page = page();
    my ($version) = $page =~ $TAG;
    is($version, (stat($script))[9], 'with the version of the file');
    like($page, qr{/pve2/js/pvemanagerlib\.js\?ver=9\.2\.11"></script>\n    $TAG\n    <script}, 'in its place');
    is($page =~ s/\n    $TAG//r, $stock, 'and the page is as it was otherwise');
    my $directories = $proxy->{server_config}->{dirs};
    is($directories->{'/luksmith/'}, root() . '/engine/dist/ui/proxmox/', 'which is served');
    is($directories->{'/pve2/js/'}, '/usr/share/pve-manager/js/', 'beside the others');
    is_deeply(\@warnings, [], 'silently');
};

subtest 'the answer is as it was otherwise' => sub {
    my @answer = PVE::Service::pveproxy::get_index('node1', 'server', 'request', {});
    is($answer[1], 'alice@pve');
};

subtest 'other pages have no panel' => sub {
    local $PVE::Service::pveproxy::page = "<script src=\"/novnc/app.js\"></script>\n";
    is(page(), $PVE::Service::pveproxy::page, 'a console');
};

subtest 'a script that is not there is not asked for, and that is said once' => sub {
    rename($script, "$script.away");
    is(page(), $stock, 'the page is whole');
    page();
    is_deeply([map { m/luksmith is not in the web interface: www-data cannot read (\S+)/ ? $1 : $_ } @warnings], [$script]);
    rename("$script.away", $script);
};

subtest 'a server that is not what it was' => sub {
    {
        no warnings 'once';
        local $PVE::Luksmith::Panel::is_served = 0;
        my $other = PVE::Service::pveproxy->new;
        @warnings = ();
        local $SIG{__WARN__} = sub { push @warnings, $_[0] };
        my @result = PVE::Luksmith::Panel::serve(sub ($self) { $self->{server_config} = {}; return 'result' }, $other);
        is_deeply(\@result, ['result'], 'starts all the same');
        like("@warnings", qr/pveproxy has no list of directories/, 'which is said');
        is(page(), $stock, 'and asks for no script that it would not find');
    }
    local $SIG{__WARN__} = sub { push @warnings, $_[0] };
    my @answer = PVE::Luksmith::Panel::show(sub { return ('a text', 'user') });
    is_deeply(\@answer, ['a text', 'user'], 'an answer that is no response is passed on');
    dies_like(sub { PVE::Luksmith::Panel::show(sub { die "stock error\n" }) }, qr/\Astock error\n\z/, 'its own errors');
};

# Runs a program after the given modules were loaded; what it writes to stdout and stderr.
sub output ($program, @modules) {
    my $pid = open(my $fh, '-|') // die "fork: $!\n";
    if (!$pid) {
        open(STDERR, '>&', \*STDOUT) or die;
        exec($perl, '-T', @libraries, (map { "-M$_" } @modules), '-e', $program) or die "exec: $!\n";
    }
    local $/ = undef;
    my $text = readline($fh) // '';
    close($fh);
    return $text;
}

my $LOADED = 'print join(q( ), grep { m{Luksmith/(?:Api|Panel|Requests)} } sort keys %INC), qq(\n);';
my $HAS    = 'print join(q( ), map { ($_->[0]->find(GET => $_->[1]))[0] ? 1 : 0 } '
    . '[q(PVE::API2::Cluster), q(luksmith/settings)], [q(PVE::API2::Qemu), q(100/luksmith)], '
    . '[q(PVE::API2::Cluster), q(tasks)], [q(PVE::API2::Qemu), q(100/config)]), qq(\n);';

subtest 'programs that serve no API have none of it' => sub {
    is(output($LOADED, 'PVE::Storage'),    "\n", 'pvesm');
    is(output($LOADED, 'PVE::API2::Qemu'), "\n", 'qm');
    is(output("require PVE::Storage; require PVE::API2::Cluster; require PVE::API2::Qemu; $LOADED"), "\n",
        'what loads it while it runs');
};

subtest 'pvedaemon has the methods, in whatever order' => sub {
    is(output($HAS, 'PVE::API2::Cluster', 'PVE::API2::Qemu'), "1 1 1 1\n");
    is(output($HAS, 'PVE::API2::Qemu', 'PVE::API2::Cluster'), "1 1 1 1\n");
};

subtest 'what cannot be registered is left out, and the rest of the API is there' => sub {
    my $clash = 'BEGIN { require PVE::API2::Cluster; '
        . 'PVE::API2::Cluster->register_method({ path => q(luksmith), method => q(PUT), subclass => q(Other) }) } ';
    my $said = output("$clash use PVE::API2::Qemu; $HAS");
    like($said, qr/\Aluksmith is not in the web interface: register PVE::API2::Cluster.*\n.*0 1 1 1\n\z/s, 'one path is taken');

    my $broken = 'BEGIN { require PVE::API2::Cluster; $INC{q(PVE/RPCEnvironment.pm)} = 1; '
        . 'unshift @INC, sub { die qq(damaged\n) if $_[1] =~ m{Luksmith/Api/Cluster} } } ';
    my $half = output("$broken use PVE::API2::Qemu; $HAS");
    like($half, qr/damaged/, 'a module is damaged');
    like($half, qr/^0 1 1 1$/m, 'and its methods alone are away');

    my $gone = 'BEGIN { require PVE::API2::Cluster; '
        . 'unshift @INC, sub { die qq(damaged\n) if $_[1] =~ m{Luksmith/Panel} } } ';
    my $without = output("$gone use PVE::API2::Qemu; $HAS");
    is($without, "luksmith: damaged\n0 0 1 1\n", 'or all of it');
};

done_testing();
