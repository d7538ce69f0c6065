#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# The REST methods: who may what, which command each is, and what becomes of its answers. The engine is a fake.
use v5.36;
use LuksmithTest;
use PVE::API2::Cluster;
use PVE::API2::Qemu;
use Test::More;

my $CLUSTER  = 'PVE::API2::Cluster';
my $QEMU     = 'PVE::API2::Qemu';
my $SETTINGS = qq({\n  "version": 1,\n  "logLevel": "warn"\n}\n);
my $DIGEST   = 'a' x 64;
my $SECRET   = 'correct horse';

# Notes its arguments, input and environment; says and does what `says.json` has.
spit(root() . '/engine/dist/cli/luksmith.js', <<'ENGINE');
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const engine = `${__dirname}/../..`;
const input = readFileSync(0, "utf8");
const environment = Object.keys(process.env).sort();
appendFileSync(`${engine}/ran.jsonl`, `${JSON.stringify({ argv: process.argv.slice(2), input, environment })}\n`);
const { out = "", err = "", exit = 0, hangs = false } = JSON.parse(readFileSync(`${engine}/says.json`, "utf8"));
process.stdout.write(out);
process.stderr.write(err);
process.exitCode = exit;
if (hangs) setTimeout(() => undefined, 60_000);
ENGINE

sub says (%how) {
    unlink(root() . '/engine/ran.jsonl');
    spit(root() . '/engine/says.json', JSON->new->utf8->encode(\%how));
    return;
}

sub document ($value) { return JSON->new->pretty->encode($value) }

sub ran () {
    open(my $fh, '<', root() . '/engine/ran.jsonl') or return ();
    my @ran = map { JSON->new->utf8->decode($_) } readline($fh);
    close($fh);
    return @ran;
}

# Of every method: path, HTTP method, permission, whether root does it, and where.
subtest 'who may what' => sub {
    my @methods = (
        [$CLUSTER, GET  => 'luksmith',              'all',           'here',     undef],
        [$CLUSTER, GET  => 'luksmith/settings',     '/ Sys.Audit',   'root',     undef],
        [$CLUSTER, PUT  => 'luksmith/settings',     'root@pam',      'root',     undef],
        [$CLUSTER, POST => 'luksmith/test',         'root@pam',      'root',     undef],
        [$CLUSTER, POST => 'luksmith/preview',      'root@pam',      'root',     undef],
        [$QEMU,    GET  => '100/luksmith',          '/vms/{vmid} VM.Audit',       'root', 'node'],
        [$QEMU,    POST => '100/luksmith/rotate',   '/vms/{vmid} VM.Config.Disk', 'root', 'node'],
    );
    for my $expected (@methods) {
        my ($class, $method, $path, $permission, $who, $where) = $expected->@*;
        my ($info) = $class->find($method, $path);
        my %permissions = ($info->{permissions} // { user => 'root@pam' })->%*;
        my $check       = $permissions{check};
        is($check ? "$check->[1] @{$check->[2]}" : $permissions{user}, $permission, "$method $path: permission");
        is($check->[0], 'perm', 'of the usual kind') if $check;
        is($info->{protected} ? 'root' : 'here', $who, 'run by');
        is($info->{proxyto}, $where, 'where');
        is($info->{parameters}->{additionalProperties}, 0, 'and with no other parameters');
    }
    my @more = grep { my $try = $_; grep { ($_->[0]->find($try, $_->[1]))[0] } [$CLUSTER, 'luksmith'], [$QEMU, '100/luksmith'] }
        qw(PUT POST DELETE);
    is_deeply(\@more, [], 'and nothing else');
};

subtest 'who may change all else cannot become root by settings' => sub {
    my $as_root   = '{"name":"k","type":"file","protector":{"type":"tpm2","tcti":"cmd:/bin/sh -c id"}}';
    my $keystone  = '{"url":"https://elsewhere.example","method":"password","passwordFile":"/etc/shadow"}';
    my $reads_all = qq({"name":"k","type":"barbican","keystone":$keystone});
    local %PVE::RPCEnvironment::privileges = ('/' => [qw(Sys.Audit Sys.Modify VM.Audit)]);
    for my $who ('alice@pve', 'root@pam!token', 'root@pve') {
        local $PVE::RPCEnvironment::user = $who;
        for my $keystore ($as_root, $reads_all) {
            my %settings = (settings => qq({"version":1,"keystores":[$keystore]}));
            says(out => '{}');
            my $before = @PVE::RPCEnvironment::tasks;
            my @answers = (
                $CLUSTER->request(PUT => 'luksmith/settings', %settings),
                $CLUSTER->request(POST => 'luksmith/test', %settings, keystore => 'k'),
                $CLUSTER->request(POST => 'luksmith/preview', %settings),
            );
            is_deeply([map { $_->{status} } @answers], [403, 403, 403], "$who is refused");
            is_deeply([ran()], [], 'nothing is started');
            is(scalar(@PVE::RPCEnvironment::tasks), $before, 'not in a task either');
        }
        says(out => document({ path => '/x' }));
        is($CLUSTER->request(GET => 'luksmith/settings')->{status}, 200, 'and reads them, as Sys.Audit says');
    }
};

subtest 'the methods of Proxmox VE are what they were' => sub {
    is_deeply($CLUSTER->request(GET => 'tasks')->{data}, ['stock']);
    is_deeply($QEMU->request(GET => '100/config', node => 'node1')->{data}, { stock => 100 });
};

subtest 'what is there' => sub {
    is_deeply($CLUSTER->request(GET => 'luksmith')->{data}, [map { { name => $_ } } qw(preview settings test)]);
};

subtest 'each is a command' => sub {
    my @commands = (
        [$CLUSTER, GET  => 'luksmith/settings', {}, ['settings', 'get', '--json'], ''],
        [
            $CLUSTER, PUT => 'luksmith/settings',
            { settings => $SETTINGS, digest => $DIGEST },
            ['settings', 'set', '--json', '--digest', $DIGEST], $SETTINGS,
        ],
        [$CLUSTER, PUT => 'luksmith/settings', { settings => $SETTINGS }, ['settings', 'set', '--json'], $SETTINGS],
        [
            $CLUSTER, POST => 'luksmith/preview',
            { settings => $SETTINGS },
            ['settings', 'preview', '--json'], $SETTINGS,
        ],
    );
    for my $command (@commands) {
        my ($class, $method, $path, $param, $argv, $input) = $command->@*;
        says(out => document({ path => '/x', list => [1, JSON::true] }));
        my $answer = $class->request($method, $path, $param->%*);
        is_deeply($answer, { status => 200, data => { path => '/x', list => [1, JSON::true] } }, "$method $path");
        is_deeply([ran()], [{ argv => $argv, input => $input, environment => [qw(HOME LC_ALL PATH)] }], 'as a command');
    }

    says(out => document({ guests => [{ id => '100', disks => [] }] }));
    my $status = $QEMU->request(GET => '100/luksmith', node => 'node1');
    is_deeply($status->{data}, { id => '100', disks => [] }, 'status is of one guest');
    is_deeply((ran())[0]->{argv}, ['status', '--json', '100']);
};

subtest 'settings are given as they were typed' => sub {
    my $text = qq({"version":1,"rules":[{"name":"a","tag":"gr\x{fc}n \x{4e2d}"}]});
    says(out => document({ change => 'saved' }));
    $CLUSTER->request(PUT => 'luksmith/settings', settings => $text);
    is((ran())[0]->{input}, $text, 'as characters');
    my $bytes = $text;
    utf8::encode($bytes);
    says(out => document({ change => 'saved' }));
    $CLUSTER->request(PUT => 'luksmith/settings', settings => $bytes);
    is((ran())[0]->{input}, $text, 'as bytes');
};

subtest 'what is no JSON object never gets to the engine, and is not repeated' => sub {
    for my $text (qq({"password":"$SECRET"), qq(["$SECRET"]), qq("$SECRET"), "$SECRET ", "{}$SECRET", "\x{ff}\x{fe}{}") {
        says(out => '{}');
        my $answer = $CLUSTER->request(PUT => 'luksmith/settings', settings => $text);
        is($answer->{status}, 400);
        is($answer->{message}, "the settings are not a JSON object\n");
        unlike(document($answer), qr/$SECRET/, 'no secret');
        is_deeply([ran()], [], 'not started');
    }
    my $large = $CLUSTER->request(PUT => 'luksmith/settings', settings => '{"a":"' . 'x' x 600_000 . '"}');
    is_deeply([$large->@{qw(status errors)}], [400, { settings => 'too long' }], 'too long');
};

subtest 'parameters are what the schema lets be' => sub {
    my @bad = (
        [$CLUSTER, PUT  => 'luksmith/settings', { settings => '{}', digest => '--force' }, 'digest'],
        [$CLUSTER, PUT  => 'luksmith/settings', { settings => '{}', digest => "$DIGEST\nx" }, 'digest'],
        [$CLUSTER, PUT  => 'luksmith/settings', { digest => $DIGEST }, 'settings'],
        [$CLUSTER, POST => 'luksmith/test', { settings => '{}', keystore => '--help' }, 'keystore'],
        [$CLUSTER, POST => 'luksmith/test', { settings => '{}', keystore => 'a/../b' }, 'keystore'],
        [$CLUSTER, POST => 'luksmith/test', { settings => '{}' }, 'keystore'],
        [$QEMU,    GET  => '99/luksmith',   { node     => 'node1' }, 'vmid'],
        [$QEMU,    GET  => '--all/luksmith', { node    => 'node1' }, 'vmid'],
        [$QEMU,    POST => '100/luksmith/rotate', { node => 'node1', disk => '--deep' }, 'disk'],
        [$QEMU,    POST => '100/luksmith/rotate', { node => 'node1', disk => 'scsi0', to => '/x' }, 'to'],
    );
    for my $bad (@bad) {
        my ($class, $method, $path, $param, $name) = $bad->@*;
        says(out => '{}');
        my $answer = $class->request($method, $path, $param->%*);
        is_deeply([$answer->{status}, keys $answer->{errors}->%*], [400, $name], "$method $path: $name");
        is_deeply([ran()], [], 'not started');
    }

    # Proxmox VE's patterns let a line end follow
    for my $call (
        sub { PVE::Luksmith::Requests::save_settings('{}', "$DIGEST\n") },
        sub { PVE::Luksmith::Requests::keystore_test('{}', "a\n") },
        sub { PVE::Luksmith::Requests::status("100\n") },
        sub { PVE::Luksmith::Requests::rotate(100, "scsi0\n") },
        )
    {
        says(out => '{}');
        dies_like($call, qr/invalid parameter/, 'a line end');
        is_deeply([ran()], [], 'not started');
    }
};

subtest 'an error of luksmith is one of the API' => sub {
    my @errors = (
        [SETTINGS_CHANGED     => 3, 409],
        [ROTATION_REFUSED     => 3, 409],
        [GUEST_NOT_FOUND      => 4, 404],
        [KEYSTORE_UNAVAILABLE => 4, 503],
        [SETTINGS_UNREADABLE  => 6, 500],
        [INTERNAL             => 1, 500],
    );
    for my $case (@errors) {
        my ($code, $exit, $status) = $case->@*;
        my %error = (code => $code, what => "cannot\nread \x{4e2d}", why => "no \x{4e2d}", hint => "look");
        says(out => JSON->new->encode({ error => \%error }) . "\n", exit => $exit);
        my $answer = $CLUSTER->request(GET => 'luksmith/settings');
        is($answer->{status}, $status, "$code is HTTP's $status");
        is($answer->{message}, "cannot read ?\n", 'its message fits into a header');
        is_deeply($answer->{errors}, { code => $code, cause => "no \x{4e2d}", hint => 'look' }, 'and the rest beside it');
    }

    my @fields = (
        { pointer => '/keystores/0/url', sentence => 'must be an address' },
        { pointer => '/keystores/0/url', sentence => 'must begin with https' },
        { pointer => '',                 sentence => 'must have a version' },
    );
    says(out => JSON->new->utf8->encode(
        { error => { code => 'SETTINGS_INVALID', what => 'cannot save', fields => \@fields } }), exit => 6);
    my $answer = $CLUSTER->request(PUT => 'luksmith/settings', settings => '{}');
    is($answer->{status}, 400, 'settings that are wrong');
    is_deeply(
        $answer->{errors},
        {
            code               => 'SETTINGS_INVALID',
            '/keystores/0/url' => 'must be an address; must begin with https',
            ''                 => 'must have a version',
        },
        'say where',
    );

    says(out => document({ ok => JSON::false, keystores => [] }) . qq({"error":{"code":"X","what":"last"}}\n), exit => 1);
    like($CLUSTER->request(GET => 'luksmith/settings')->{message}, qr/\Alast$/, 'the last line counts');
};

subtest 'a document counts, whatever the exit code' => sub {
    says(out => document({ ok => JSON::false, keystores => [{ name => 'a' }] }), exit => 4);
    my $answer = $CLUSTER->request(POST => 'luksmith/preview', settings => '{}');
    is($answer->{status}, 200);
    is_deeply($answer->{data}, { ok => JSON::false, keystores => [{ name => 'a' }] });
};

subtest 'an engine without an answer' => sub {
    says(out => "Segmentation fault $SECRET", err => "boom $SECRET\n", exit => 9);
    my $answer = $CLUSTER->request(PUT => 'luksmith/settings', settings => '{}');
    is($answer->{status}, 500);
    is($answer->{message}, "luksmith gave no answer\n");
    unlike(document($answer), qr/$SECRET/, 'is not quoted');

    says(hangs => JSON::true);
    {
        local $PVE::Luksmith::Requests::LIMIT      = 1;
        local $PVE::Luksmith::Requests::READ_LIMIT = 2;
        my @late = (
            [1, 'settings preview', $CLUSTER->request(POST => 'luksmith/preview', settings => '{}')],
            [2, 'settings get',     $CLUSTER->request(GET  => 'luksmith/settings')],
            [2, 'status',           $QEMU->request(GET => '100/luksmith', node => 'node1')],
        );
        for my $late (@late) {
            my ($seconds, $command, $refusal) = $late->@*;
            is($refusal->{status}, 504, "too late: $command");
            is($refusal->{message}, "luksmith took longer than $seconds seconds\n");
            like($refusal->{errors}->{hint}, qr/: luksmith $command --help/);
        }
    }
    ok($PVE::Luksmith::Requests::READ_LIMIT <= 10, 'who may only look does not hold a worker for long');
    ok($PVE::Luksmith::Requests::LIMIT < 30, 'and pveproxy waits longer than that');
    {
        local $PVE::Luksmith::Paths::NODE = '/nonexistent/node';
        my $gone = $CLUSTER->request(GET => 'luksmith/settings');
        is($gone->{status}, 500);
        like($gone->{message}, qr/Node\.js is not at .*install the package luksmith/, 'not there');
    }
};

subtest 'a keystore is tried by a task, which has the time to take its throw-away key away again' => sub {
    @PVE::RPCEnvironment::tasks = ();
    says(out => "ok: keystore vault-1 (vault): reached, round trip\n");
    my $out = stdout_of(sub {
        local $PVE::Luksmith::Requests::LIMIT = 0;
        my $answer = $CLUSTER->request(POST => 'luksmith/test', settings => $SETTINGS, keystore => 'vault-1');
        like($answer->{data}, qr/\AUPID:node1:.*:luksmithtest:vault-1:root\@pam:\z/, 'whose ID comes back');
    });
    is($out, "ok: keystore vault-1 (vault): reached, round trip\n", 'its log has what the command says');
    my $argv = ['settings', 'test', '--stdin', 'vault-1'];
    is_deeply([ran()], [{ argv => $argv, input => $SETTINGS, environment => [qw(HOME LC_ALL PATH)] }], 'as a command');
    is($PVE::RPCEnvironment::tasks[0]->{status}, 'OK');

    says(exit => 1);
    $CLUSTER->request(POST => 'luksmith/test', settings => '{}', keystore => 'a');
    is($PVE::RPCEnvironment::tasks[1]->{status}, "luksmith settings test ended with exit code 1\n", 'one that fails');
    is($CLUSTER->request(POST => 'luksmith/test', settings => '[]', keystore => 'a')->{status}, 400);
    is(scalar(@PVE::RPCEnvironment::tasks), 2, 'what is no JSON object begins none');
};

subtest 'new passphrases are a task' => sub {
    @PVE::RPCEnvironment::tasks = ();
    local $PVE::RPCEnvironment::user       = 'alice@pve';
    local %PVE::RPCEnvironment::privileges = ('/vms/100' => ['VM.Config.Disk']);
    says(out => "web: scsi0 has a new passphrase\n");
    my $out = stdout_of(sub {
        my $answer = $QEMU->request(POST => '100/luksmith/rotate', node => 'node1', disk => 'scsi0');
        like($answer->{data}, qr/\AUPID:node1:.*:luksmithrotate:100:alice\@pve:\z/, 'whose ID comes back');
    });
    is($out, "web: scsi0 has a new passphrase\n", 'its log has what the command says');
    is_deeply((ran())[0]->{argv}, ['rotate', '--disk', 'scsi0', '100']);
    is($PVE::RPCEnvironment::tasks[0]->{status}, 'OK');

    says(err => "error: cannot rotate\ncause: busy\n", exit => 3);
    $QEMU->request(POST => '100/luksmith/rotate', node => 'node1');
    is_deeply((ran())[0]->{argv}, ['rotate', '100'], 'of all disks');
    is($PVE::RPCEnvironment::tasks[1]->{status}, "error: cannot rotate; cause: busy\n", 'and it fails as the command does');
};

subtest 'looking at disks leaves workers to others' => sub {
    says(out => document({ guests => [{ id => '100', disks => [] }] }));
    my $status = sub ($vmid) { $QEMU->request(GET => "$vmid/luksmith", node => 'node1')->{status} };
    my $one    = PVE::Luksmith::Turn::take(100);
    is($status->(100), 503, 'one look at a guest at a time');
    is_deeply([ran()], [], 'the second is not begun');
    is($status->(101), 200, 'another guest has its own');
    my $other = PVE::Luksmith::Turn::take(101);
    is($status->(102), 503, 'two are all');
    like($QEMU->request(GET => '102/luksmith', node => 'node1')->{errors}->{hint}, qr/try again/);
    undef $one;
    is($status->(102), 200, 'until one of them is done');
    is($status->(100), 200);

    says(err => 'broken', exit => 1);
    is($status->(100), 500) for 1 .. 3;
    says(out => document({ guests => [{ id => '100', disks => [] }] }));
    is($status->(100), 200, 'one that fails is done as well');
};

subtest 'no other guest is named to those who may not see it' => sub {
    my @disks = (
        { device => 'scsi0', copyOf => 'enc:vm-101-disk-0', sameVolumeKey => ['payroll scsi0', 'web scsi0'] },
        { device => 'scsi1', copyOf => '/srv/base-101-disk-0/vm-102-disk-1.luks' },
        { device => 'scsi2', copyOf => '/dev/sdx' },
        { device => 'scsi3' },
    );
    my $other   = 'another guest';
    my @visible = (
        [{ '/vms/100' => ['VM.Audit'] }, [$other, $other, $other, undef], [$other]],
        [
            { '/vms/100' => ['VM.Audit'], '/vms/102' => ['VM.Audit'] },
            [$other, $disks[1]->{copyOf}, $other, undef], [$other],
        ],
        [{ '/vms' => ['VM.Audit'] }, [map { $_->{copyOf} } @disks], $disks[0]->{sameVolumeKey}],
    );
    local $PVE::RPCEnvironment::user = 'alice@pve';
    for my $case (@visible) {
        my ($privileges, $copies, $same) = $case->@*;
        local %PVE::RPCEnvironment::privileges = $privileges->%*;
        says(out => document({ guests => [{ id => '100', disks => \@disks }] }));
        my $data = $QEMU->request(GET => '100/luksmith', node => 'node1')->{data};
        is_deeply([map { $_->{copyOf} } $data->{disks}->@*], $copies, join(' ', sort keys $privileges->%*));
        is_deeply($data->{disks}->[0]->{sameVolumeKey}, $same);
        is(exists($data->{disks}->[3]->{copyOf}), '', 'and nothing is made up');
    }
};

done_testing();
