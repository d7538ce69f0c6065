package Lab;

# SPDX-License-Identifier: Apache-2.0
# A host for tests of the wraps: the stand-ins of Proxmox VE's modules, a fake engine, encrypted volumes that are real,
# all below one directory in memory. What runs there is ended with the test, also when the test is killed.

use v5.36;

use File::Copy ();
use File::Path ();
use File::Temp ();
use FindBin ();
use JSON ();
use POSIX ();
use Time::HiRes qw(sleep);

my ($here) = $FindBin::Bin =~ m{^(/.+)/test/host/proxmox/wraps$} or die "tests of the wraps lie elsewhere\n";
unshift @INC, "$here/src/host/proxmox/perl", "$here/test/fake/proxmox/perl5";
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';    ## no critic (RequireLocalizedPunctuationVars)
delete @ENV{qw(CDPATH ENV BASH_ENV IFS PVE_MIGRATED_FROM)};

our ($HOME) = File::Temp::mkdtemp('/dev/shm/luksmith-wraps-XXXXXX') =~ m/^(.+)$/;
my $guard = watch();
mkdir("$HOME/$_") for qw(run base guests local pve engine engine/dist engine/dist/cli engine/dist/hooks);
for my $script (qw(cli/luksmith hooks/pre-start hooks/post-stop hooks/pre-migrate)) {
    File::Copy::copy("$here/test/host/proxmox/wraps/lib/fake-engine.pl", "$HOME/engine/dist/$script.js")
        or die "copy: $!\n";
}
write_file("$HOME/pve/storage.cfg", <<"CONFIG");
luksmith: luks
\tbase-path $HOME/base
\tcontent images

dir: local
\tpath $HOME/local
\tcontent images
CONFIG

require PVE::Luksmith::Paths;
$PVE::Luksmith::Paths::NODE   = '/usr/bin/perl';
$PVE::Luksmith::Paths::ENGINE = "$HOME/engine";
$PVE::Luksmith::Paths::RUN    = "$HOME/run";
$ENV{PVE_STAND_IN_ROOT}       = "$HOME/pve";    ## no critic (RequireLocalizedPunctuationVars)
require PVE::QemuServer::Helpers;
$PVE::QemuServer::Helpers::var_run_tmpdir = "$HOME/guests";

# '' if it is not there.
sub read_file ($path) {
    open(my $file, '<:raw', $path) or return '';
    my @lines = readline($file);
    close($file) or die "$path: $!\n";
    return join('', @lines);
}

# The engine of this source tree, which knows one place for everything: only on a node that is made for the test.
sub real_engine () {
    for my $script (qw(cli/luksmith hooks/pre-start hooks/post-stop hooks/pre-migrate)) {
        my $source = $script =~ m{^cli} ? "$here/src/$script.ts" : "$here/$script.ts";
        write_file("$HOME/engine/dist/$script.js", <<"SCRIPT");
const { spawnSync } = require("node:child_process");
const program = ["--import", "$here/node_modules/tsx/dist/loader.mjs", "$source"];
const { status } = spawnSync(process.execPath, [...program, ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
SCRIPT
    }
    my ($node) = grep { -x } map { "$_/node" } qw(/usr/local/bin /usr/bin);
    $PVE::Luksmith::Paths::NODE               = $node;
    $PVE::Luksmith::Paths::RUN                = '/run/luksmith';
    $PVE::QemuServer::Helpers::var_run_tmpdir = '/run/qemu-server';
    mkdir('/run/qemu-server');
    write_file('/etc/pve/storage.cfg', read_file("$HOME/pve/storage.cfg"));
    return;
}

sub write_file ($path, @lines) {
    open(my $file, '>', $path) or die "$path: $!\n";
    print {$file} @lines;
    close($file) or die "$path: $!\n";
    return;
}

# A process that cleans up when this one is gone, however it ended.
sub watch () {
    pipe(my $reader, my $writer) or die "pipe: $!\n";
    my $main = $$;
    my $pid = fork() // die "fork: $!\n";
    return { writer => $writer, pid => $pid, main => $main } if $pid;
    close($writer);
    POSIX::setsid();
    local @SIG{qw(INT TERM HUP)} = ('IGNORE') x 3;

    # who waits for the output of the test does not wait for this process
    close($_) or die "close: $!\n" for \*STDOUT, \*STDERR;
    readline($reader);
    clean();
    return POSIX::_exit(0);
}

sub clean () {
    my @files = (glob("$HOME/guests/*.pid"), glob("$HOME/run/export/*/*.pid"));
    for my $file (map { m/^(.+)$/ } @files) {
        kill('KILL', $1) if read_file($file) =~ m/^([0-9]+)$/;
    }
    sleep(0.1) if @files;
    system('umount', '-l', $_) for map { m/^(.+)$/ } glob("$HOME/run/export/*/*.img");
    File::Path::remove_tree($HOME);
    return;
}

END {
    if ($guard && $guard->{main} == $$) {
        local $? = $?;
        close($guard->{writer});
        waitpid($guard->{pid}, 0);
    }
}

# -- what the host has

sub storecfg () {
    require PVE::Storage;
    return PVE::Storage::config();
}

# A LUKS volume, with the passphrase that the fake engine knows.
sub volume ($name, $mebibytes = 4) {
    my $path = path($name);
    write_file($path);
    truncate($path, (2 + $mebibytes) << 20) or die "$path: $!\n";
    my @cheap = qw(--batch-mode --type luks1 --pbkdf-force-iterations 1000 --key-size 512 --key-file -);
    open(my $cryptsetup, '|-', 'cryptsetup', 'luksFormat', @cheap, '--', $path) or die "cryptsetup: $!\n";
    print {$cryptsetup} "passphrase of $name";
    close($cryptsetup) or die "cryptsetup failed\n";
    return "luks:$name";
}

sub path ($name) { return "$HOME/base/$name.luks" }

sub guest ($vmid, %options) {
    require PVE::QemuConfig;
    $PVE::QemuConfig::configurations{$vmid} = { name => "guest$vmid", %options };
    return $PVE::QemuConfig::configurations{$vmid};
}

# As guest, and in the file that the real engine reads.
sub configure ($vmid, %options) {
    my $node = (POSIX::uname())[1] =~ s/\..*//r;
    my $path = '/etc/pve';
    for my $part ('nodes', $node, 'qemu-server') {
        ($path) = "$path/$part" =~ m/^(.+)$/;
        mkdir($path);
    }
    write_file("$path/$vmid.conf", map { "$_: $options{$_}\n" } sort keys %options);
    return guest($vmid, %options);
}

# -- what the fake engine does and did

sub wrong (@things) {
    write_file("$HOME/wrong", map { "$_\n" } @things);
    return;
}

# What it was asked since the last time.
sub asked () {
    my @lines = split(/\n/, read_file("$HOME/log"));
    unlink("$HOME/log");
    return map { JSON::decode_json($_) } @lines;
}

# -- what is left

# Files and directories of starts; none is how it should be.
sub secrets () {
    return map { m{/run/vm/(.+)$} ? $1 : () } glob("$HOME/run/vm/*"), glob("$HOME/run/vm/*/*"), glob("$HOME/run/vm/*/*/*");
}

sub exports () { return map { m{([^/]+)\.img$} ? $1 : () } glob("$HOME/run/export/*/*.img") }

# Secret objects in QEMU.
sub objects ($vmid) {
    my $found = PVE::QemuServer::Monitor::mon_cmd($vmid, 'qom-list', path => '/objects');
    return grep { m/^luksmith-/ } map { $_->{name} } $found->@*;
}

# Driver of a node, `none` of one that is not there.
sub driver ($vmid, $name) {
    my $nodes = PVE::QemuServer::Monitor::mon_cmd($vmid, 'query-named-block-nodes', flat => JSON::true());
    my ($node) = grep { $_->{'node-name'} eq $name } $nodes->@*;
    return $node ? $node->{drv} : 'none';
}

# In the QEMU of a guest, which says what comes of it to its own terminal alone.
sub qemu_io ($vmid, $device, $command) {
    my $line = "qemu-io -d $device \"$command\"";
    my $said = PVE::QemuServer::Monitor::mon_cmd($vmid, 'human-monitor-command', 'command-line' => $line);
    die $said if length($said);
    return;
}

# Whether the decrypted volume has the byte there, as another QEMU sees it.
sub reads ($name, $byte, $where) {
    my ($path) = path($name);
    my @options = ('--object', "secret,id=s,data=passphrase of $name", '--image-opts');
    open(my $qemu_io, '-|', 'qemu-io', '-r', '-U', '-c', "read -P $byte $where", @options,
        "driver=luks,key-secret=s,file.driver=file,file.filename=$path,file.locking=off")
        or die "qemu-io: $!\n";
    my $said = do { local $/; readline($qemu_io) };
    close($qemu_io);
    return $said =~ m/^read [0-9]+/m && $said !~ m/Pattern verification failed/;
}

# Warnings and what is printed to stderr by Perl while the code runs.
sub warnings_of ($code) {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, $_[0] };
    $code->();
    return @warnings;
}

sub error_of ($code) {
    local $@;
    return eval { $code->(); 1 } ? undef : $@;
}

1;
