package PVE::Luksmith::Requests;

# SPDX-License-Identifier: Apache-2.0
# What the REST methods ask of the engine: each is one luksmith command, run as root by pvedaemon. Settings, which may
# have secrets in them, go in on standard input; the document that the command prints comes back. An error of luksmith
# becomes one of the API: what, with cause, hint, code, and a sentence for each setting that is wrong, by its JSON Pointer.

use v5.36;

use JSON ();
use PVE::Exception ();
use PVE::Luksmith::Engine;
use PVE::Luksmith::Interruption;
use PVE::Luksmith::Names;
use PVE::Luksmith::Turn;

# Seconds: pveproxy waits 30 for an answer.
our $LIMIT = 25;

# Of what those may ask for who may only look: one of pvedaemon's few workers waits with them.
our $READ_LIMIT = 10;

# A task has as long as it takes to ask a keystore for each disk of a guest, or to store a key and take it away again.
our $TASK_LIMIT = 3600;

# Characters: pveproxy takes bodies of 64 KiB, newer ones of 512 KiB, in which each character may be three.
our $MAX_SETTINGS = 512 * 1024;

my $BAD_REQUEST = 400;
my $NOT_FOUND   = 404;
my $CONFLICT    = 409;
my $FAILED      = 500;
my $UNAVAILABLE = 503;
my $TIMEOUT     = 504;

# Of an error, by its code, or else by the exit code that docs/errors.md gives it.
my %STATUS_OF_CODE = (SETTINGS_INVALID => $BAD_REQUEST, GUEST_NOT_FOUND => $NOT_FOUND);
my %STATUS_OF_EXIT = (3 => $CONFLICT, 4 => $UNAVAILABLE);

sub settings () {
    return ask(['settings', 'get', '--json'], '', $READ_LIMIT);
}

# Undef for $digest saves whatever the settings are by now.
sub save_settings ($text, $digest) {
    my @digest = defined($digest) ? ('--digest', checked('digest', $digest, qr/[0-9a-f]{64}/a)) : ();
    return ask(['settings', 'set', '--json', @digest], settings_bytes($text));
}

# The keystore's name, and what a task is to do. Ended in its midst, it would leave its throw-away key behind: no request
# has the time for it.
sub keystore_test ($text, $keystore) {
    my $name  = checked('keystore', $keystore, qr/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}/a);
    my $bytes = settings_bytes($text);
    return ($name, sub () { run_task(['settings', 'test', '--stdin', $name], $bytes) });
}

sub preview_settings ($text) {
    return ask(['settings', 'preview', '--json'], settings_bytes($text));
}

# Of one guest.
sub status ($vmid) {
    my $safe = safe_vmid($vmid);
    my $turn = PVE::Luksmith::Turn::take($safe);
    refuse(
        $UNAVAILABLE, "the disks of VM $safe are not looked at now",
        cause => 'others have this node look at disks at the moment, and it does that for a few at a time',
        hint  => 'try again in a few seconds',
    ) if !$turn;
    my $document = ask(['status', '--json', $safe], '', $READ_LIMIT);
    return $document->{guests}->[0];
}

# In a task. Undef for $disk is all disks of the guest.
sub rotate ($vmid, $disk) {
    my @disk = defined($disk) ? ('--disk', checked('disk', $disk, qr/[a-z]{1,16}[0-9]{1,3}/a)) : ();
    run_task(['rotate', @disk, safe_vmid($vmid)]);
    return;
}

# The log of the task gets what the command says; the task fails as the command does.
sub run_task ($arguments, $input = '') {
    my @said = ();
    my $code = PVE::Luksmith::Engine::run_on_text(
        ['dist/cli/luksmith.js', $arguments->@*], $input, $TASK_LIMIT,
        sub ($line) { say STDOUT $line },
        sub ($line) { push @said, $line },
    );
    if ($code != 0) {
        my $command = command_name($arguments);
        my $why     = join('; ', @said ? @said : "$command ended with exit code $code");
        die "$why\n";
    }
    print STDERR "$_\n" for @said;
    return;
}

# The document, also of a command that prints one and ends with an error code all the same. Dies with a PVE::Exception.
sub ask ($arguments, $input = '', $limit = $LIMIT) {
    my @lines = ();
    my @noise = ();
    my $code  = eval {
        PVE::Luksmith::Engine::run_on_text(
            ['dist/cli/luksmith.js', $arguments->@*], $input, $limit,
            sub ($line) { push @lines, $line },
            sub ($line) { push @noise, $line },
        );
    };
    if (!defined($code)) {
        my $error = $@;
        PVE::Luksmith::Interruption::pass_on($error);
        refuse_late($arguments, $limit) if $error =~ m/did not finish within/;
        refuse($FAILED, $error);
    }
    my $document = document(@lines);
    return $document if $document && !$document->{error};
    refuse_error($document->{error}, $code) if $document;

    # what a program that broke writes may have anything in it
    refuse($FAILED, 'luksmith gave no answer', cause => "exit code $code", hint => 'see its log on this node');
    return;
}

# All lines, or the last of them: errors come on one.
sub document (@lines) {
    for my $text (join("\n", @lines), $lines[-1] // '') {
        my $value = eval { JSON->new->utf8->decode($text) };
        return $value if ref($value) eq 'HASH';
    }
    return;
}

sub refuse_error ($error, $exit) {
    my %more = (code => $error->{code});
    $more{cause} = $error->{why}  if length($error->{why}  // '');
    $more{hint}  = $error->{hint} if length($error->{hint} // '');
    for my $field (($error->{fields} // [])->@*) {
        push @{ $more{ $field->{pointer} } }, $field->{sentence};
    }
    $_ = join('; ', $_->@*) for grep { ref } values %more;
    my $status = $STATUS_OF_CODE{ $error->{code} } // $STATUS_OF_EXIT{$exit} // $FAILED;
    refuse($status, $error->{what}, %more);
    return;
}

sub refuse_late ($arguments, $limit) {
    my $command = command_name($arguments);
    refuse(
        $TIMEOUT, "luksmith took longer than $limit seconds",
        cause => 'nobody may wait longer for an answer of Proxmox VE',
        hint  => "in a shell of the node, it has more time: $command --help",
    );
    return;
}

sub command_name ($arguments) { return join(' ', 'luksmith', grep { m/\A[a-z]/ } $arguments->@[0, 1]) }

# The message can become a line of an HTTP header.
sub refuse ($status, $message, %more) {
    my $line   = PVE::Luksmith::Names::printable(PVE::Luksmith::Engine::one_line($message =~ s/\s+\z//r));
    my %errors = map { $_ => PVE::Luksmith::Engine::one_line($more{$_}) } keys %more;
    PVE::Exception::raise("$line\n", code => $status, (%errors ? (errors => \%errors) : ()));
    return;
}

# As they were typed, so that their order and line ends are kept; nothing of them is in an error.
sub settings_bytes ($text) {
    my $bytes = $text;
    utf8::encode($bytes) if utf8::is_utf8($bytes);
    my $settings = length($text) <= $MAX_SETTINGS ? eval { JSON->new->utf8->decode($bytes) } : undef;
    refuse($BAD_REQUEST, 'the settings are not a JSON object', hint => 'luksmith settings schema says what they may be')
        if ref($settings) ne 'HASH';
    return $bytes;
}

sub safe_vmid ($vmid) { return checked('vmid', $vmid, qr/[1-9][0-9]{2,8}/a) }

# Untainted.
sub checked ($name, $value, $pattern) {
    my ($safe) = $value =~ m/\A($pattern)\z/;
    refuse($BAD_REQUEST, "invalid parameter '$name'") if !defined($safe);
    return $safe;
}

1;
