package LuksmithTest;

# SPDX-License-Identifier: Apache-2.0
# A node of its own for a test: storage.cfg, a place for exports, and an engine that is a fake unless told otherwise.
# Load it first: it tells the stand-ins where the node is.

use v5.36;

use Cwd ();
use Exporter qw(import);
use File::Basename ();
use File::Path ();
use File::Temp ();
use JSON ();
use Scalar::Util ();

our @EXPORT = qw(
    answers asked config dies_like forget_asked luks_file real_engine repository requests root spit stdout_of storages
    untainted with_programs
);

my ($repository, $root);

BEGIN {
    ($repository) = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../../../..') =~ m/\A(.*)\z/;
    ($root) = File::Temp->newdir('luksmith-perl-XXXXXX', TMPDIR => 1, CLEANUP => 0) =~ m/\A(.*)\z/;
    $ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
    delete @ENV{qw(IFS CDPATH ENV BASH_ENV)};
    $ENV{PVE_STAND_IN_ROOT} = "$root/etc/pve";
    File::Path::make_path("$root/etc/pve");
}

# The process that made it, not those that it forks.
my $owner = $$;
END { File::Path::remove_tree($root) if $$ == $owner && defined($root) }

use PVE::Luksmith::Paths;

$PVE::Luksmith::Paths::RUN    = "$root/run/luksmith";
$PVE::Luksmith::Paths::ENGINE = "$root/engine";
for my $part (['cli/luksmith', 'bridge'], map { ["hooks/$_", 'hook'] } qw(pre-start pre-migrate post-stop)) {
    spit("$root/engine/dist/$part->[0].js",
        "require('$repository/test/fake/proxmox/fake-engine.cjs')('$root/engine', '$part->[1]');\n");
}

sub root ()       { return $root }
sub repository () { return $repository }

# Writes storage.cfg.
sub storages (@sections) {
    spit("$root/etc/pve/storage.cfg", join("\n", @sections));
    return;
}

# The engine that the environment names, with the paths of a node.
sub real_engine () {
    my ($plugin) = ($ENV{LUKSMITH_TEST_PLUGIN} // '') =~ m!\A(/.*)\z! or die "LUKSMITH_TEST_PLUGIN names no engine\n";
    $PVE::Luksmith::Paths::ENGINE = $plugin;
    $PVE::Luksmith::Paths::RUN    = '/run/luksmith';
    return;
}

sub config () { return PVE::Storage::config() }

# What the fake engine answers, by operation, instead of the usual.
sub answers (%answers) {
    spit("$root/engine/answers.json", JSON->new->utf8->encode(\%answers));
    return;
}

# What it was asked since it was last forgotten: [{ input, argv, environment }].
sub asked () {
    open(my $fh, '<', "$root/engine/asked.jsonl") or return ();
    my @asked = map { JSON->new->utf8->decode($_) } readline($fh);
    close($fh);
    return @asked;
}

sub forget_asked () {
    unlink("$root/engine/asked.jsonl", "$root/engine/answers.json");
    return;
}

# The requests to the bridge, without version and storage.
sub requests () {
    return map { my %request = $_->{input}->%*; delete @request{qw(version storage)}; \%request } asked();
}

sub spit ($path, $text) {
    File::Path::make_path(File::Basename::dirname($path));
    open(my $fh, '>', $path) or die "$path: $!\n";
    print {$fh} $text;
    close($fh) or die "$path: $!\n";
    return $path;
}

# What $code writes to standard output.
sub stdout_of ($code) {
    open(my $saved, '>&', \*STDOUT)        or die "$!\n";
    open(STDOUT, '>', "$root/stdout") or die "$!\n";
    $code->();
    open(STDOUT, '>&', $saved)       or die "$!\n";
    open(my $fh, '<', "$root/stdout") or die "$!\n";
    local $/ = undef;
    return readline($fh);
}

# A real LUKS1 volume whose guest sees so many bytes; its passphrase is "test".
sub luks_file ($path, $size, $offset = 2 * 1024 * 1024) {
    open(my $fh, '>', $path) or die "$path: $!\n";
    truncate($fh, $size + $offset) or die "$path: $!\n";
    close($fh);
    open(my $cryptsetup, '|-', '/usr/sbin/cryptsetup', 'luksFormat', '--type', 'luks1', '--pbkdf-force-iterations',
        '1000', '--offset', $offset / 512, '--batch-mode', '--key-file', '-', $path)
        or die "cryptsetup: $!\n";
    print {$cryptsetup} 'test';
    close($cryptsetup) or die "cryptsetup: exit status $?\n";
    return $path;
}

# Runs $code while these programs, by absolute path, are functions: they get the arguments and return the output, or die.
# Everything else is really run. Returns the calls, as arrays, with a limit of
# time that is not the usual one.
sub with_programs ($programs, $code) {
    my @calls = ();
    my $real  = \&PVE::Tools::run_command;
    no warnings 'redefine';
    local *PVE::Tools::run_command = sub ($cmd, %param) {
        my ($program, @arguments) = $cmd->@*;
        my $fake = $programs->{$program} or return $real->($cmd, %param);
        push @calls, [$cmd->@*];
        my $output = eval { $fake->(@arguments) };
        die(($param{errmsg} // 'failed') . ": $@") if $@;
        push $calls[-1]->@*, "timeout $param{timeout}" if ($param{timeout} // 30) != 30;

        # what a program prints is tainted
        $param{outfunc}->($_ . substr($^X, 0, 0)) for split(/\n/, $output // '');
        return 0;
    };
    $code->();
    return @calls;
}

# Nothing in these values is tainted.
sub untainted (@values) {
    for my $value (map { ref($_) eq 'HASH' ? $_->%* : ref($_) ? $_->@* : $_ } @values) {
        if (ref($value)) {
            untainted($value);
        } else {
            Test::More::ok(!Scalar::Util::tainted($value), 'untainted: ' . ($value // 'undef'));
        }
    }
    return;
}

# The error of $code, which must match.
sub dies_like ($code, $pattern, $name) {
    my $died = !eval { $code->(); 1 };
    my $error = $@;
    Test::More::ok($died, "$name: dies") or return;
    Test::More::like($error, $pattern, $name);
    return;
}

1;
