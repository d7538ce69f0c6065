#!/usr/bin/perl

# SPDX-License-Identifier: Apache-2.0
# FAKE of the engine: `luksmith bridge` and the hooks, as far as the wraps need them. It takes its place and its state
# from where this copy of it lies; every input is written to a log; what it shall do wrong is in the file `wrong`. The
# passphrase of a volume is `passphrase of NAME`. Exports are real: qemu-storage-daemon and FUSE.

use v5.36;

use JSON ();
use Time::HiRes qw(sleep);

$ENV{PATH} = '/usr/bin:/bin';    ## no critic (RequireLocalizedPunctuationVars)
my ($home, $script) = $0 =~ m{^(.+)/engine/dist/(.+)$} or die "a fake engine that lies nowhere\n";
my $input = JSON::decode_json(do { local $/; readline(STDIN) });
my %wrong = -e "$home/wrong" ? map { (m/^(.+)$/ => 1) } lines("$home/wrong") : ();
note({ script => $script, arguments => [@ARGV], input => $input });

if ($script =~ m{^hooks/}) {
    print STDERR "warning: a warning of the hook\n" if $wrong{warn};
    if ($wrong{veto}) {
        print STDERR "error: cannot start guest $input->{vmid}: disk scsi0 needs a key\n";
        print STDERR "cause: keystore embedded has no such key\nhint: restore the keystore\n";
    }
    provide($input->{vmid}, $input->{start}, hooked($input->{config})) if $input->{start} && !$wrong{unprovided};
    exit(3) if $wrong{veto};
    print "luksmith: done\n" if !$wrong{undone};
    exit(0);
}
my $op = $input->{op};
answer({ error => { code => 'FAKE', what => "cannot $op", why => 'it was told to fail', hint => 'do not' } }, 4)
    if $wrong{$op};
if ($op eq 'provide') {
    provide($input->{vmid}, $input->{start}, map { ($_->{file} => $_->{volume}) } $input->{volumes}->@*);
} elsif ($op eq 'open') {
    export($input->{storage}, $input->{volume});
} elsif ($op eq 'close') {
    unexport($input->{storage}, $input->{volume});
}
answer({ result => {} }, 0);

sub hooked ($config) {
    my %volumes;
    for my $key (grep { m/^(?:ide|sata|scsi|virtio|efidisk|tpmstate)[0-9]+$/ } keys $config->%*) {
        my ($name) = $config->{$key} =~ m{^luks:(?:[^/,]+/)?([^/,]+)} or next;
        $volumes{$key} = $name if $config->{$key} !~ m/media=cdrom/;
    }
    return %volumes;
}

sub provide ($vmid, $start, %files) {
    my ($path) = "$home/run/vm/$vmid/$start" =~ m/^(.+)$/;
    make($path);
    for my $file (keys %files) {
        my ($safe) = "$path/$file" =~ m/^(.+)$/;
        umask(0077);
        open(my $handle, '>', $safe) or die "$safe: $!\n";
        print {$handle} "passphrase of $files{$file}";
        close($handle);
    }
    return;
}

sub export ($storage, $volume) {
    my ($place) = "$home/run/export/$storage->{id}/$volume" =~ m/^(.+)$/;
    my ($file)  = "$storage->{base}->{path}/$volume.luks"   =~ m/^(.+)$/;
    return if -e "$place.pid";
    make($place =~ s{/[^/]+$}{}r);
    open(my $handle, '>', "$place.img") or die "$place.img: $!\n";
    close($handle);
    my @options = (
        '--object',   "secret,id=s,data=passphrase of $volume",
        '--blockdev', "driver=luks,node-name=l,key-secret=s,file.driver=file,file.filename=$file,file.locking=off",
        '--export',   "type=fuse,id=e,node-name=l,mountpoint=$place.img,writable=on,growable=off,allow-other=off",
    );
    system('qemu-storage-daemon', '--daemonize', '--pidfile', "$place.pid", @options) == 0
        or answer({ error => { code => 'FAKE', what => "cannot export $volume" } }, 4);
    return;
}

sub unexport ($storage, $volume) {
    my ($place) = "$home/run/export/$storage->{id}/$volume" =~ m/^(.+)$/;
    my $is_busy = $wrong{busy} || ($wrong{'busy-at-first'} && !-e "$home/was-busy");
    note_file("$home/was-busy") if $is_busy;
    answer({ error => { code => 'FAKE', what => "cannot close $volume", why => 'it is in use' } }, 4) if $is_busy;
    my ($pid) = -e "$place.pid" ? (lines("$place.pid"))[0] =~ m/^([0-9]+)/ : ();
    kill('TERM', $pid) if $pid;
    for (1 .. 200) { last if !$pid || !readlink("/proc/$pid/exe"); sleep(0.02) }
    unlink("$place.pid", "$place.img");
    return;
}

sub note_file ($path) {
    open(my $file, '>', $path) or die "$path: $!\n";
    return close($file);
}

sub make ($path) {
    my $so_far = '';
    for my $part (grep { length } split(m{/}, $path)) {
        $so_far .= "/$part";
        mkdir($so_far, oct('0700'));
    }
    return;
}

sub answer ($answer, $code) {
    print JSON::encode_json($answer), "\n";
    exit($code);
}

sub note ($entry) {
    open(my $log, '>>', "$home/log") or die "log: $!\n";
    print {$log} JSON->new->canonical->utf8->encode($entry), "\n";
    return close($log);
}

sub lines ($path) {
    open(my $file, '<', $path) or die "$path: $!\n";
    my @lines = readline($file);
    close($file);
    return @lines;
}
