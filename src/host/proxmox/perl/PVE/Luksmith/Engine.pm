package PVE::Luksmith::Engine;

# SPDX-License-Identifier: Apache-2.0
# Starts the engine, which is written in TypeScript: `luksmith bridge` for one operation on a volume, and the hooks of a
# guest's start and stop. What goes in and out is JSON without secrets. An engine that is not there, or does not answer,
# is an error like any other: nothing falls back to plaintext.

use v5.36;

use JSON ();
use PVE::Luksmith::Paths;
use PVE::Luksmith::Process;

my $LAST_LINES  = 20;
my $LINE_LENGTH = 200;

# Seconds. Most operations run while Proxmox VE holds the lock of a storage or of storage.cfg, which it takes away after
# 60. Opening a volume asks a keystore, outside of these locks; a hook asks for the keys of all disks of a guest.
our %LIMIT        = (open => 120, provide => 120, close => 30, hook => 300);
our $LOCKED_LIMIT = 50;

# What a hook prints when it has done its work.
my $DONE = 'luksmith: done';

# One request of schemas/proxmox/bridge-request.schema.json, without its version. Returns the result of the answer.
# Dies with "what: why (hint)\n" if the engine refuses or fails.
sub bridge ($request) {
    my $out   = '';
    my @noise = ();
    my $code  = run(
        ['dist/cli/luksmith.js', 'bridge'],
        { $request->%*, version => 1 },
        $LIMIT{ $request->{op} } // $LOCKED_LIMIT,
        sub ($line) { $out .= "$line\n" },
        sub ($line) { push @noise, $line },
    );

    my $answer = eval { JSON->new->utf8->decode($out) };
    if (ref($answer) ne 'HASH' || !($answer->{error} || ($code == 0 && $answer->{result}))) {
        die "luksmith could not $request->{op} a volume: the engine gave no answer, exit code $code"
            . last_words(\@noise) . "\n";
    }
    print_warnings($answer->{result}->{warnings}) if $answer->{result};
    die sentence($answer->{error}) . "\n"         if $answer->{error};
    return $answer->{result};
}

# Runs the hook of an event (pre-start, pre-migrate, post-stop) for the phase that Proxmox VE calls it in; $input as in
# schemas/proxmox/proxmox-hook-input.schema.json, without its version. Dies with what the hook wrote to stderr if it
# vetoes or fails; what a successful hook wrote there are warnings, and are shown.
sub hook ($event, $vmid, $phase, $input) {
    my ($safe_event) = $event =~ m/^(pre-start|pre-migrate|post-stop)$/ or die "luksmith has no hook for '$event'\n";
    my ($safe_phase) = $phase =~ m/^([a-z]+-[a-z]+)$/                   or die "unknown phase '$phase'\n";
    my ($safe_vmid)  = $vmid  =~ m/^([1-9][0-9]{2,8})$/                 or die "'$vmid' is not a VMID\n";

    my @said    = ();
    my $is_done = 0;
    my $code    = run(
        ["dist/hooks/$safe_event.js", 'proxmox', $safe_vmid, $safe_phase],
        { $input->%*, version => 1, vmid => int($safe_vmid) },
        $LIMIT{hook},
        sub ($line) { $line eq $DONE ? $is_done = 1 : say STDOUT $line },
        sub ($line) { push @said, $line },
    );
    die join("\n", @said ? @said : "luksmith's hook $safe_event failed with exit code $code") . "\n" if $code != 0;

    # an empty file ends with 0 too
    die "luksmith's hook $safe_event did not do its work: its program is damaged\n" if !$is_done;
    print STDERR "$_\n" for @said;
    return;
}

# With JSON as its input; otherwise as run_on_text.
sub run ($command, $input, $limit, $out, $err) {
    return run_on_text($command, JSON->new->utf8->canonical->encode($input), $limit, $out, $err);
}

# Returns the exit code. Dies if the engine cannot be started, takes too long, or is ended by a signal, and with what a
# signal handler dies with; the engine has ended by then.
sub run_on_text ($command, $text, $limit, $out, $err) {
    my ($script, @arguments) = $command->@*;
    my $node = $PVE::Luksmith::Paths::NODE;
    my $path = "$PVE::Luksmith::Paths::ENGINE/$script";
    missing('Node.js',                $node) if !-x $node;
    missing("luksmith's own program", $path) if !-r $path;

    local %ENV = (PATH => '/usr/sbin:/usr/bin:/sbin:/bin', HOME => '/root', LC_ALL => 'C');
    my ($code, $problem) = PVE::Luksmith::Process::run([$node, $path, @arguments], $text, $limit, $out, $err);
    die "luksmith's engine failed: $problem\n" if !defined($code);
    return $code;
}

sub missing ($what, $path) {
    die "cannot reach encrypted volumes: $what is not at $path (install the package luksmith on this node again)\n";
}

sub sentence ($error) {
    my $text = one_line($error->{what} // 'unknown error');
    $text .= ': ' . one_line($error->{why})  if length($error->{why} // '');
    $text .= ' (' . one_line($error->{hint}) . ')' if length($error->{hint} // '');
    return $text;
}

sub one_line ($text) {
    return $text =~ s/[\s\x00-\x1f]+/ /gr;
}

sub print_warnings ($warnings) {
    for my $warning (($warnings // [])->@*) {
        my $line = one_line($warning);

        # marks the task as ended with warnings, where there is a task
        if (defined(&PVE::RESTEnvironment::log_warn)) {
            PVE::RESTEnvironment::log_warn($line);
        } else {
            print STDERR "warning: $line\n";
        }
    }
    return;
}

sub last_words ($lines) {
    my @last = map { substr($_, 0, $LINE_LENGTH) } grep { length } $lines->@*;
    splice(@last, 0, @last - $LAST_LINES) if @last > $LAST_LINES;
    return @last ? ': ' . join('; ', @last) : '';
}

1;
