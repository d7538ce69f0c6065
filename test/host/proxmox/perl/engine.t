#!/usr/bin/perl -T
# SPDX-License-Identifier: Apache-2.0
# How the engine is started, and what becomes of its answers.
use v5.36;
use LuksmithTest;
use POSIX ();
use PVE::Luksmith::Engine;
use PVE::Luksmith::Interruption;
use Test::More;
use Time::HiRes qw(sleep);

my $STORAGE = { id => 'enc', base => { type => 'directory', path => '/srv/enc' } };
my $SIZE    = { op => 'size', storage => $STORAGE, volume => 'vm-100-disk-0' };

sub stderr_of ($code) {
    open(my $saved, '>&', \*STDERR) or die;
    open(STDERR, '>', root() . '/stderr') or die;
    my $done  = eval { $code->(); 1 };
    my $error = $@;
    open(STDERR, '>&', $saved) or die;
    die $error if !$done;
    open(my $fh, '<', root() . '/stderr') or die;
    local $/ = undef;
    return readline($fh);
}

subtest 'a request is one JSON object with a version, and its result comes back' => sub {
    answers(size => { result => { uuid => 'u', size => 4096 } });
    local $ENV{HTTP_PROXY} = 'http://elsewhere';
    local $ENV{NODE_OPTIONS} = '--nonsense';
    is_deeply(PVE::Luksmith::Engine::bridge($SIZE), { uuid => 'u', size => 4096 });
    my ($asked) = asked();
    is_deeply($asked->{input}, { $SIZE->%*, version => 1 });
    is_deeply($asked->{argv}, ['bridge']);
    is_deeply($asked->{environment}, [], 'its environment holds nothing of ours');
    forget_asked();
};

subtest 'what the engine refuses is told in one line' => sub {
    answers(size => { error => { code => 'X', what => 'cannot read', why => "no\nheader", hint => 'look' }, exit => 3 });
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/\Acannot read: no header \(look\)\n\z/, 'error');
    answers(size => { error => { code => 'X', what => 'cannot read' } });
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/\Acannot read\n\z/, 'error without a reason');
    forget_asked();
};

subtest 'warnings are shown, and do not fail' => sub {
    answers(size => { result => { warnings => ["old\nkey"] } });
    is(stderr_of(sub { PVE::Luksmith::Engine::bridge($SIZE) }), "warning: old key\n");
    forget_asked();
};

subtest 'an engine without an answer is an error' => sub {
    answers(size => { text => 'Segmentation fault', stderr => "boom\n", exit => 9 });
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/gave no answer, exit code 9: boom$/, 'no JSON');
    answers(size => { text => '[]' });
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/gave no answer, exit code 0$/, 'no object');
    answers(size => { exit => 4 });
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/gave no answer, exit code 4$/, 'result, yet a failure');
    answers(size => { text => '', signal => 'SIGKILL' });
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/engine failed: .*got signal 9$/, 'killed');
    dies_like(sub { PVE::Luksmith::Engine::bridge({ $SIZE->%*, volume => '../x' }) },
        qr/the schema refuses it/, 'the schema is checked');
    forget_asked();
};

subtest 'an engine that is not there is an error' => sub {
    {
        local $PVE::Luksmith::Paths::NODE = '/nonexistent/node';
        dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) },
            qr!Node.js is not at /nonexistent/node \(install!, 'no Node.js');
    }
    local $PVE::Luksmith::Paths::ENGINE = '/nonexistent';
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr!program is not at /nonexistent/dist!, 'no engine');
    dies_like(sub { PVE::Luksmith::Engine::hook('pre-start', 100, 'pre-start', { config => {} }) },
        qr!program is not at /nonexistent/dist!, 'no hook');
};

subtest 'a hook gets the guest, and vetoes' => sub {
    my $input = { config => { name => 'web' }, start => '1-2-3' };
    PVE::Luksmith::Engine::hook('pre-start', '100', 'pre-start', $input);
    my ($asked) = asked();
    is_deeply($asked->{argv}, ['proxmox', '100', 'pre-start']);
    is_deeply($asked->{input}, { $input->%*, version => 1, vmid => 100 });

    answers(hook => { stderr => "error: no\ncause: key\n", exit => 3 });
    dies_like(sub { PVE::Luksmith::Engine::hook('pre-start', 100, 'pre-start', $input) },
        qr/\Aerror: no\ncause: key\n\z/, 'veto');
    answers(hook => { exit => 3 });
    dies_like(sub { PVE::Luksmith::Engine::hook('post-stop', 100, 'post-stop', $input) },
        qr/hook post-stop failed with exit code 3/, 'silent failure');
    answers(hook => { text => "a line\n" });
    dies_like(sub { PVE::Luksmith::Engine::hook('pre-start', 100, 'pre-start', $input) },
        qr/did not do its work/, 'a program that ends with 0 and has done nothing');
    answers(hook => { stderr => "warning: soon\n" });
    is(stderr_of(sub { PVE::Luksmith::Engine::hook('pre-migrate', 100, 'pre-start', $input) }), "warning: soon\n");
    dies_like(sub { PVE::Luksmith::Engine::hook('../x', 100, 'pre-start', $input) }, qr/no hook/, 'unknown event');
    dies_like(sub { PVE::Luksmith::Engine::hook('pre-start', '100;', 'pre-start', $input) }, qr/VMID/, 'no VMID');
    forget_asked();
};

# -- whatever ends the call ends the engine

sub processes () { return grep { kill(0, -$_) } map { $_->{pid} =~ m/\A([0-9]+)\z/ } asked() }

# The engine has started, and got what it shall do.
sub wait_for_engine () {
    for (1 .. 500) { return if asked(); sleep(0.02) }
    die "the engine does not start\n";
}

subtest 'an engine that takes too long is ended, with what it has started' => sub {
    answers(size => { hangs => 1 });
    local $PVE::Luksmith::Engine::LIMIT{size} = 1;
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) },
        qr/\Aluksmith's engine failed: it did not finish within 1 s\n\z/, 'by its own limit');
    is(scalar(asked()), 1, 'it ran');
    is_deeply([processes()], [], 'and is gone');
    forget_asked();
    for my $op (qw(create free rename template clone snapshot rollback delete-snapshot resize record-storage)) {
        cmp_ok($PVE::Luksmith::Engine::LIMIT{$op} // $PVE::Luksmith::Engine::LOCKED_LIMIT, '<', 60,
            "$op ends before Proxmox VE's lock");
    }
};

subtest "the end of Proxmox VE's lock ends it too" => sub {
    answers(size => { hangs => 1 });
    my $text = "'storage-enc'-locked command timed out - aborting\n";
    local $SIG{ALRM} = sub { die $text };
    alarm(2);
    dies_like(sub { PVE::Luksmith::Engine::bridge($SIZE) }, qr/\A\Q$text\E\z/, 'with the error as it is');
    alarm(0);
    is(scalar(asked()), 1, 'it ran');
    is_deeply([processes()], [], 'and is gone');
    forget_asked();
};

subtest "an alarm of the caller's is not taken away" => sub {
    local $SIG{ALRM} = sub { die "too late\n" };
    alarm(100);
    PVE::Luksmith::Engine::bridge($SIZE);
    cmp_ok(alarm(0), '>', 50, 'it is still set');
    forget_asked();
};

subtest 'a process that is told to end ends the engine first' => sub {
    answers(size => { hangs => 1 });
    for my $signal (qw(TERM INT)) {
        my $pid = fork() // die "fork: $!\n";
        if (!$pid) {
            eval { PVE::Luksmith::Engine::bridge($SIZE) };
            POSIX::_exit(0);
        }
        wait_for_engine();
        kill($signal, $pid);
        waitpid($pid, 0);
        isnt($? & 127, 0, "$signal ends it as ever");
        is_deeply([processes()], [], 'and the engine');
        unlink(root() . '/engine/asked.jsonl');
    }
    forget_asked();
};

subtest 'long input, long output' => sub {
    my $text = 'x' x 300_000;
    answers(hook => { stderr => "warning: $text\n" });
    is(stderr_of(sub { PVE::Luksmith::Engine::hook('pre-start', 100, 'pre-start', { config => { description => $text } }) }),
        "warning: $text\n");
    is((asked())[0]->{input}->{config}->{description}, $text);
    forget_asked();
};

subtest 'errors that are passed on' => sub {
    for my $text ("got timeout\n", "received interrupt\n", "'file-storage_cfg'-locked command timed out - aborting\n") {
        dies_like(sub { PVE::Luksmith::Interruption::pass_on($text) }, qr/\A\Q$text\E\z/, $text =~ s/\n//r);
    }
    for my $text (undef, '', "no such file\n", "VM 100 qmp command 'x' failed - got timeout\n") {
        ok(eval { PVE::Luksmith::Interruption::pass_on($text); 1 }, 'not: ' . ($text // 'undef') =~ s/\n//r);
    }
};

done_testing();
