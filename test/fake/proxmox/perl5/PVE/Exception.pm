package PVE::Exception;

# SPDX-License-Identifier: Apache-2.0
# Stand-in: an error with a code of HTTP, and texts for parameters.

use v5.36;

use Exporter qw(import);
use overload '""' => sub ($self, @) { return $self->stringify }, 'bool' => sub { 1 }, fallback => 1;

our @EXPORT_OK = qw(raise);

sub raise ($message, %more) {
    die bless({ msg => $message, %more }, __PACKAGE__);
}

# As pvesh prints it.
sub stringify ($self) {
    my $text = defined($self->{code}) ? "$self->{code} $self->{msg}" : $self->{msg};
    $text .= "$_: $self->{errors}->{$_}\n" for sort keys(($self->{errors} // {})->%*);
    return $text;
}

1;
