package PVE::RPCEnvironment;

# SPDX-License-Identifier: Apache-2.0
# Stand-in: who asks and may do what, and tasks, which run in this process and leave what they were.

use v5.36;

use PVE::Exception ();

our @tasks;
our $user = 'root@pam';

# What others than root@pam may, by path; it holds for what is below as well.
our %privileges;

sub get () { return bless({}, __PACKAGE__) }

sub get_user ($self) { return $user }

sub check ($self, $who, $path, $privileges, $noerr = 0) {
    return 1 if $who eq 'root@pam';
    my @above = ('/');
    push @above, ($above[-1] eq '/' ? '' : $above[-1]) . "/$_" for grep { length } split(m{/}, $path);
    my %granted = map { $_ => 1 } map { ($privileges{$_} // [])->@* } @above;
    return 1 if !grep { !$granted{$_} } $privileges->@*;
    return 0 if $noerr;
    forbid("$path, @{$privileges}");
    return;
}

# Whoever is logged in may what is for all; a method that says nothing is root@pam's.
sub check_api2_permissions ($self, $permissions, $who, $param) {
    return 1 if $who eq 'root@pam';
    forbid('user != root@pam') if !$permissions;
    return 1 if ($permissions->{user} // '') eq 'all';
    my (undef, $path, $privileges) = $permissions->{check}->@*;
    return $self->check($who, $path =~ s/\{(\w+)\}/$param->{$1}/gr, $privileges);
}

sub forbid ($what) {
    PVE::Exception::raise("Permission check failed ($what)\n", code => 403);
    return;
}

sub fork_worker ($self, $type, $id, $owner, $code) {
    my $upid = "UPID:node1:00000001:00000001:00000001:$type:$id:$owner:";
    my $done = eval { $code->($upid); 1 };
    push @tasks, { upid => $upid, status => $done ? 'OK' : $@ };
    return $upid;
}

1;
