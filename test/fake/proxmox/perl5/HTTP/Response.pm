package HTTP::Response;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for what web servers in Perl answer with, as far as somebody changes the content.

use v5.36;

sub new ($class, $code, $message, $headers, $content) {
    return bless({ code => $code, message => $message, headers => $headers, content => $content }, $class);
}

sub content ($self, @new) {
    ($self->{content}) = @new if @new;
    return $self->{content};
}

1;
