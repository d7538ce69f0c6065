package PVE::Luksmith::Process;

# SPDX-License-Identifier: Apache-2.0
# Runs one program that does not outlive the call, however that ends: by its time limit, by a signal, or because a
# signal handler of the caller dies, as that of Proxmox VE's locks does. Proxmox VE's run_command leaves the program
# running then, and takes away an alarm that the caller has set.

use v5.36;

use Errno qw(EAGAIN EINTR);
use IO::Select;
use IPC::Open3 qw(open3);
use List::Util qw(min);
use POSIX ();
use Symbol qw(gensym);
use Time::HiRes qw(sleep time);

# Seconds in which it may end by itself when it is told to.
my $PATIENCE = 2;
my $CHUNK    = 65_536;

# Gives the program its input, and each line of output to a function. Returns (exit code), or (undef, what went wrong).
# Dies only with what a signal handler or a function dies with.
sub run ($command, $input, $limit, $out, $err) {
    my $pid;
    local $SIG{PIPE} = 'IGNORE';
    my @unhandled = grep { ($SIG{$_} // '') =~ m/\A(?:DEFAULT)?\z/ } qw(HUP INT QUIT TERM);
    local @SIG{@unhandled} = (sub ($name) { follow($name, $pid) }) x @unhandled;

    my @result = ();
    my $done   = eval {

        # a session is a group of processes, which ends as a whole; killed before it has its input, it does nothing
        my ($stdin, $stdout, $stderr) = map { gensym() } 1 .. 3;
        $pid = open3($stdin, $stdout, $stderr, '/usr/bin/setsid', $command->@*);
        my $end = time() + $limit;
        @result = (undef, "it did not finish within $limit s");
        @result = outcome($pid, $end, @result)
            if converse($end, $input, $stdin, { $stdout => [$stdout, $out], $stderr => [$stderr, $err] });
        1;
    };
    my $error = $@;
    end($pid) if defined($pid) && !defined($result[0]);
    die $error if !$done;
    return @result;
}

# Until the program has closed its output; false if that takes too long.
sub converse ($end, $input, $stdin, $streams) {
    my ($readers, $writers) = (IO::Select->new(map { $_->[0] } values $streams->%*), IO::Select->new($stdin));
    my %rest = map { $_ => '' } keys $streams->%*;
    $stdin->blocking(0);
    while ($readers->count) {
        my $left = $end - time();
        return 0 if $left <= 0;
        my ($readable, $writable) = IO::Select->select($readers, $writers, undef, min($left, 1)) or next;
        for my $fh ($writable->@*) {
            my $written = syswrite($fh, $input, $CHUNK) // ($!{EAGAIN} || $!{EINTR} ? 0 : length($input));
            substr($input, 0, $written, '');
            next if length($input);
            $writers->remove($fh);
            close($fh);    ## no critic (RequireCheckedClose)
        }
        for my $fh ($readable->@*) {
            my $count = sysread($fh, $rest{$fh}, $CHUNK, length($rest{$fh}));
            next if !defined($count) && ($!{EAGAIN} || $!{EINTR});
            $readers->remove($fh) if !$count;
            $rest{$fh} .= "\n" if !$count && length($rest{$fh});
            $streams->{$fh}->[1]->($1) while $rest{$fh} =~ s/\A([^\n]*)\n//;
        }
    }
    return 1;
}

sub outcome ($pid, $end, @late) {
    my $ended;
    while (($ended = waitpid($pid, POSIX::WNOHANG())) == 0) {
        return @late if time() > $end;
        sleep(0.01);
    }
    return (undef, 'somebody else took its exit code') if $ended < 0;
    return (undef, 'got signal ' . ($? & 127))         if $? & 127;
    return ($? >> 8);
}

# The program and what it has started.
sub end ($pid) {
    local ($@, $!, $?);
    my $is_ours = waitpid($pid, POSIX::WNOHANG()) == 0;
    for my $signal (qw(TERM KILL)) {
        kill($signal, -$pid, $is_ours ? $pid : ());
        my $end = time() + $PATIENCE;
        while (time() < $end) {
            $is_ours &&= waitpid($pid, POSIX::WNOHANG()) == 0;
            return if !$is_ours && !kill(0, -$pid);
            sleep(0.01);
        }
    }
    return;
}

# A signal that would have ended this process alone.
sub follow ($name, $pid) {
    end($pid) if defined($pid);
    $SIG{$name} = 'DEFAULT';    ## no critic (RequireLocalizedPunctuationVars)
    kill($name, $$);
    return;
}

1;
