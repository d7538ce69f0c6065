#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# The REST methods before the engine itself, with the settings and one guest of a node of its own (namespace.sh).
use v5.36;
use LuksmithTest;
use PVE::API2::Cluster;
use PVE::API2::Qemu;
use PVE::Storage;
use Test::More;

my $CLUSTER  = 'PVE::API2::Cluster';
my $QEMU     = 'PVE::API2::Qemu';
my $PASSWORD = 'correct horse battery staple';
my $PATH     = root() . '/srv/enc';

sub content ($path) {
    open(my $fh, '<:raw', $path) or die "$path: $!\n";
    local $/ = undef;
    return readline($fh);
}

BAIL_OUT('this writes to /etc/pve and /run: run it by namespace.sh')
    if content('/proc/self/mountinfo') !~ m{ /etc/pve .* - tmpfs } || glob('/etc/pve/*');

real_engine();
mkdir($_, oct('0700')) for root() . '/srv', $PATH, map { "/etc/pve/$_" } qw(luksmith priv nodes nodes/pve1 nodes/pve1/qemu-server);
symlink('nodes/pve1', '/etc/pve/local') or die "$!\n";
storages("luksmith: enc\n\tbase-path $PATH\n");
spit('/etc/pve/storage.cfg', "luksmith: enc\n\tbase-path $PATH\n");

sub settings () { return $CLUSTER->request(GET => 'luksmith/settings') }

sub save ($digest, $settings) {
    my $text = JSON->new->canonical->pretty->encode($settings);
    return $CLUSTER->request(PUT => 'luksmith/settings', settings => $text, digest => $digest);
}

my $begin = settings();

subtest 'settings are read, with all defaults and a digest' => sub {
    is($begin->{status}, 200) or diag(explain($begin));
    my $data = $begin->{data};
    is($data->{path}, '/etc/pve/luksmith/settings.json');
    like($data->{digest}, qr/\A[0-9a-f]{64}\z/);
    is($data->{settings}->{logLevel}, 'info');
    is_deeply($data->{secretsSet}, []);
};

my $vault = {
    name     => 'vault',
    type     => 'barbican',
    keystone => { method => 'password', url => 'http://127.0.0.1:1/v3', user => 'luksmith', project => 'vms' },
};

subtest 'what is wrong is said, each at its place' => sub {
    my $answer = save($begin->{data}->{digest}, { version => 1, logLevel => 'loud', headers => { keep => 0 } });
    is($answer->{status}, 400);
    is($answer->{errors}->{code}, 'SETTINGS_INVALID');
    like($answer->{errors}->{$_}, qr/\Amust be/, $_) for qw(/logLevel /headers/keep);
    ok(!-e '/etc/pve/luksmith/settings.json', 'and nothing is saved');
};

subtest 'settings are saved once' => sub {
    my $saved = save($begin->{data}->{digest}, { version => 1, logLevel => 'warn' });
    is($saved->{status}, 200) or diag(explain($saved));
    is($saved->{data}->{change}, 'saved');
    is(settings()->{data}->{digest}, $saved->{data}->{digest}, 'with a new digest');
    is_deeply(settings()->{data}->{stored}, { version => 1, logLevel => 'warn' });
    my $late = save($begin->{data}->{digest}, { version => 1, logLevel => 'debug' });
    is_deeply([$late->{status}, $late->{errors}->{code}], [409, 'SETTINGS_CHANGED'], 'who read them before is told');
    is(settings()->{data}->{stored}->{logLevel}, 'warn', 'and overwrites nothing');
};

subtest 'a secret is stored apart, and never comes back' => sub {
    my %keystone = (%{ $vault->{keystone} }, password => $PASSWORD);
    my $digest   = settings()->{data}->{digest};
    my $saved    = save($digest, { version => 1, keystores => [{ %$vault, keystone => \%keystone }] });
    is($saved->{status}, 200) or diag(explain($saved));
    my $read = settings();
    is_deeply($read->{data}->{secretsSet}, ['/keystores/0/keystone/password']);
    unlike(JSON->new->encode([$read, $saved]), qr/$PASSWORD/, 'not in an answer');
    unlike(content('/etc/pve/luksmith/settings.json'), qr/$PASSWORD/, 'nor in the settings');
    my ($file) = $read->{data}->{stored}->{keystores}->[0]->{keystone}->{passwordFile} =~ m{\A(/etc/pve/priv/.+)\z};
    like(content($file), qr/\A$PASSWORD/, 'but in a file of its own');
};

subtest 'a keystore is tried' => sub {
    my $stored = JSON->new->encode(settings()->{data}->{stored});
    my $log    = stdout_of(sub {
        $CLUSTER->request(POST => 'luksmith/test', settings => $stored, keystore => 'vault');
    });
    like($log, qr/^failed: keystore vault \(barbican\)/m, 'nobody answers there');
    like($PVE::RPCEnvironment::tasks[0]->{status}, qr/exit code 1/, 'and the task has failed');
    $CLUSTER->request(POST => 'luksmith/test', settings => $stored, keystore => 'other');
    like($PVE::RPCEnvironment::tasks[1]->{status}, qr/no keystore other.*the settings have: vault/, 'which there are is known');
    @PVE::RPCEnvironment::tasks = ();
};

# A disk with a key of its own, in the keystore of this node
save(settings()->{data}->{digest}, { version => 1, rules => [{ name => 'web', guest => 'web*' }] });
my $volid = PVE::Storage::vdisk_alloc(config(), 'enc', 100, 'raw', undef, 4 * 1024);
spit('/etc/pve/nodes/pve1/qemu-server/100.conf', "name: web\nscsi0: $volid,size=4M\nscsi1: local:100/vm-100-disk-1.raw\n");

subtest 'the rules are tried on the guests of the node' => sub {
    my $rules  = '{"version":1,"rules":[{"name":"never","tag":"x"},{"name":"web","guest":"web"}]}';
    my $answer = $CLUSTER->request(POST => 'luksmith/preview', settings => $rules);
    is($answer->{status}, 200) or diag(explain($answer));
    my ($guest) = $answer->{data}->{guests}->@*;
    is_deeply([$guest->@{qw(id name)}], ['100', 'web']);
    is($_->{rule}, 'web', $_->{device}) for $guest->{disks}->@*;
};

subtest 'a guest tells its disks' => sub {
    my $answer = $QEMU->request(GET => '100/luksmith', node => 'pve1');
    is($answer->{status}, 200) or diag(explain($answer));
    is_deeply({ map { $_->{device} => $_->{verdict} } $answer->{data}->{disks}->@* },
        { scsi0 => 'protected', scsi1 => 'unprotected' });
    is($QEMU->request(GET => '404/luksmith', node => 'pve1')->{status}, 404, 'another one is not there');
};

subtest 'its passphrase is replaced by a task' => sub {
    $QEMU->request(POST => '100/luksmith/rotate', node => 'pve1', disk => 'scsi0');
    is($PVE::RPCEnvironment::tasks[0]->{status}, 'OK');
    ok($QEMU->request(GET => '100/luksmith', node => 'pve1')->{data}->{disks}->[0]->{keyRotatedAt}, 'as its key says');
    $QEMU->request(POST => '100/luksmith/rotate', node => 'pve1', disk => 'scsi9');
    like($PVE::RPCEnvironment::tasks[1]->{status}, qr/\Aerror: .*scsi9/, 'of a disk that is not there it is not');
};

done_testing();
