package PVE::Tools;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for the functions of Proxmox VE's PVE::Tools that the storage plugin and the other stand-ins call, written from
# what their callers rely on. Programs are really run.

use v5.36;

use Exporter qw(import);
use Fcntl qw(:flock O_CREAT O_RDWR);
use File::Basename ();
use IO::Handle;
use IO::Select;
use IPC::Open3 qw(open3);
use POSIX ();
use Symbol qw(gensym);

our @EXPORT_OK = qw(
    df dir_glob_foreach extract_param file_get_contents file_read_firstline file_set_contents lock_file run_command
    run_fork_with_timeout split_list trim
);

my %KNOWN = map { $_ => 1 } qw(
    timeout umask errmsg input output outfunc errfunc logfunc afterfork noerr keeplocale quiet
);

# Lines of output go to outfunc and errfunc, or through. As the real one, it ends the program only at its own time limit,
# not when the handler of another alarm dies; and without a time limit it takes the caller's alarm away. Dies with "command '…' failed: …", or with errmsg and the last
# line of stderr, unless noerr; returns the exit code, -1 if there is none.
sub run_command ($cmd, %param) {
    my @unknown = grep { !$KNOWN{$_} } keys %param;
    die "got unknown parameter '$unknown[0]' for run_command\n" if @unknown;
    my @argv = ref($cmd) ? $cmd->@* : ('/bin/sh', '-c', $cmd);

    my $last_error;
    my $code = -1;
    my $pid;
    my $outer;
    eval {
        local $SIG{ALRM} = sub { die "got timeout\n" }
            if $param{timeout};
        $outer = alarm($param{timeout}) if $param{timeout};
        local $ENV{LC_ALL} = 'C' if !$param{keeplocale};

        my $stdin  = ($param{input} // '') =~ m/\A<&/ ? $param{input} : gensym();
        my $stdout = ($param{output} // '') =~ m/\A>&/ ? $param{output} : gensym();
        my $stderr = gensym();
        my $parent = $$;
        $pid = eval { open3($stdin, $stdout, $stderr, @argv) };
        if ($$ != $parent) {

            # the program could not be started
            warn $@;
            POSIX::_exit(1);
        }
        die $@ if !$pid;
        if (ref($stdin)) {
            print {$stdin} $param{input} if defined($param{input});
            close($stdin);
        }
        follow($stdout, $stderr, \%param, \$last_error);
        waitpid($pid, 0);
        $pid = undef;
        die 'got signal ' . ($? & 127) . "\n" if $? & 127;
        $code = $? >> 8;
        die "exit code $code\n" if $code;
        alarm(0);
    };
    my $error = $@;
    alarm(0);
    if ($pid && $error) {
        kill('KILL', $pid) if $error eq "got timeout\n";
        waitpid($pid, 0) if $error eq "got timeout\n";
    }
    alarm($outer) if $outer;
    return $code  if !$error;
    die "command '@argv' failed: $error" if $error eq "got timeout\n";
    $error = "$last_error\n" if defined($last_error) && $error =~ m/\Aexit code/;
    die "$param{errmsg}: $error" if $param{errmsg};
    die "command '@argv' failed: $error" if !$param{noerr};
    return $code;
}

sub follow ($stdout, $stderr, $param, $last_error) {
    my %stream = (fileno($stderr) => { fh => $stderr, func => $param->{errfunc}, to => \*STDERR });
    $stream{ fileno($stdout) } = { fh => $stdout, func => $param->{outfunc}, to => \*STDOUT } if ref($stdout);
    $stream{ fileno($stderr) }->{func} = sub ($line) {
        $param->{errfunc}->($$last_error) if defined($$last_error) && $param->{errfunc};
        $$last_error = $line;
    } if $param->{errmsg};
    my $select = IO::Select->new(map { $_->{fh} } values %stream);
    while ($select->count) {
        for my $fh ($select->can_read(1)) {
            my $stream = $stream{ fileno($fh) };
            my $count  = sysread($fh, my $bytes, 4096);
            $select->remove($fh) if !$count;
            if (!$stream->{func}) {
                print { $stream->{to} } $bytes if !$param->{quiet};
                next;
            }
            $stream->{rest} = ($stream->{rest} // '') . $bytes;
            $stream->{func}->($1) while $stream->{rest} =~ s/\A([^\r\n]*)(?:\r\n?|\n)//;
        }
    }
    for my $stream (values %stream) {
        $stream->{func}->($stream->{rest}) if $stream->{func} && length($stream->{rest} // '');
    }
    return;
}

# Replaces the file at once.
sub file_set_contents ($path, $data, $mode = oct('0644')) {
    my $temporary = "$path.tmp.$$";
    sysopen(my $fh, $temporary, O_CREAT | O_RDWR, $mode) or die "unable to open file '$temporary' - $!\n";
    print {$fh} $data;
    close($fh) or die "closing file '$temporary' failed - $!\n";
    rename($temporary, $path) or die "close (rename) atomic file '$path' failed: $!\n";
    return;
}

sub file_get_contents ($path, @) {
    open(my $fh, '<', $path) or die "can't open '$path' - $!\n";
    local $/ = undef;
    my $data = readline($fh);
    close($fh);
    return $data;
}

sub file_read_firstline ($path) {
    open(my $fh, '<', $path) or return;
    my $line = readline($fh);
    close($fh);
    chomp($line) if defined($line);
    return $line;
}

# In bytes; tainted, as what comes from another process.
sub df ($path, $timeout) {
    my @rows = ();
    eval {
        run_command(['/usr/bin/df', '-B1', '--output=size,used,avail', '--', $path],
            timeout => $timeout, outfunc => sub ($line) { push @rows, $line }, errfunc => sub { });
    };
    my ($total, $used, $avail) = ($rows[1] // '') =~ m/(\d+)/g;
    my $taint = substr($^X, 0, 0);
    return { map { $_->[0] => ($_->[1] // 0) . $taint } ['total', $total], ['used', $used], ['avail', $avail] };
}

# The result in scalar context, undef if it takes too long.
sub run_fork_with_timeout ($timeout, $code) {
    pipe(my $reader, my $writer) or die "pipe: $!\n";
    my $pid = fork() // die "fork: $!\n";
    if (!$pid) {
        print {$writer} $code->() // '';
        $writer->flush();
        POSIX::_exit(0);
    }
    close($writer);
    my $result;
    if (IO::Select->new($reader)->can_read($timeout)) {
        $result = readline($reader) // '';
    } else {
        kill('KILL', $pid);
    }
    waitpid($pid, 0);
    return $result;
}

# $@ as the real one: undef result and the error in it.
sub lock_file ($path, $timeout, $code, @arguments) {
    my $result = eval {
        my ($safe) = $path =~ m/\A(.*)\z/;
        sysopen(my $fh, $safe, O_CREAT | O_RDWR, oct('0600')) or die "can't open lock file $path - $!\n";
        flock($fh, LOCK_EX | LOCK_NB) or die "can't lock file '$path' - got timeout\n";
        $code->(@arguments);
    };
    return $@ ? undef : $result;
}

sub dir_glob_foreach ($directory, $pattern, $code) {
    opendir(my $dh, $directory) or return;
    for my $entry (sort(readdir($dh))) {
        $code->($entry) if $entry =~ m/\A$pattern\z/;
    }
    closedir($dh);
    return;
}

sub split_list ($text) { return grep { length } split(/[,;\s\0]+/, $text // '') }

sub trim ($text) { return defined($text) ? $text =~ s/\A\s+|\s+\z//gr : undef }

sub extract_param ($param, $key) { return delete($param->{$key}) }

1;
