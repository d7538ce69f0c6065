package PVE::RESTHandler;

# SPDX-License-Identifier: Apache-2.0
# Stand-in: methods by path, as Proxmox VE registers and finds them. It refuses what the real one refuses: a path that is
# taken, a fixed part where others have a parameter, and the other way round; parameters that the schema does not allow; and,
# as its web server does, who may not.

use v5.36;

use PVE::Exception ();
use PVE::RPCEnvironment;

my %tree;

sub register_method ($class, $info) {
    my $prefix = "register $class/" . ($info->{path} // '') . ' -';
    die "$prefix no path\n" if !defined($info->{path});
    my $place = $tree{$class} //= {};
    for my $part (split(m{/+}, $info->{path})) {
        die "$prefix path component has zero length\n" if $part eq '';
        if (my ($name, undef, $pattern) = $part =~ m/\A\{(\w+)(:(.*))?\}\z/) {
            die "$prefix path match error - regex and fixed items\n" if $place->{folders};
            $place = $place->{regex} //= { name => $name, pattern => $pattern // '\S+' };
            die "$prefix found changed regex match name\n" if $place->{name} ne $name;
        } else {
            die "$prefix path match error - regex and fixed items\n" if $place->{regex};
            $place = $place->{folders}->{$part} //= {};
        }
    }
    my $method = $info->{subclass} ? 'SUBCLASS' : $info->{method} // 'GET';
    die "$prefix duplicate method definition\n" if $place->{methods}->{$method} || $place->{methods}->{SUBCLASS};
    $place->{methods}->{$method} = $info;
    return;
}

# (method, parameters that are in the path), or nothing.
sub find ($class, $method, $path, $parameters = {}) {
    my $place = $tree{$class} // return;
    my @parts = split(m{/+}, $path);
    while (1) {
        if (my $sub = $place->{methods}->{SUBCLASS}) {
            return find($sub->{subclass}, $method, join('/', @parts), $parameters);
        }
        my $part = shift(@parts) // last;
        if (my $regex = $place->{regex}) {
            return if $part !~ m/\A$regex->{pattern}\z/;
            $parameters->{ $regex->{name} } = $part;
            $place = $regex;
        } else {
            $place = $place->{folders}->{$part} // return;
        }
    }
    my $info = $place->{methods}->{$method} // return;
    return ($info, $parameters);
}

# What an HTTP request gets: { status, data | message, errors }.
sub request ($class, $method, $path, %given) {
    my ($info, $in_path) = find($class, $method, $path);
    return { status => 501, message => "Method '$method $path' not implemented" } if !$info;
    my $environment = PVE::RPCEnvironment::get();
    my $data        = eval {
        $environment->check_api2_permissions($info->{permissions}, $environment->get_user(), $in_path);
        $info->{code}->(validated($info->{parameters}, { %given, $in_path->%* }));
    };
    my $error = $@ or return { status => 200, data => $data };
    return { status => 500, message => $error } if !ref($error);
    return { status => $error->{code} // 500, message => $error->{msg}, errors => $error->{errors} };
}

# Untainted, as the real one has them.
sub validated ($schema, $param) {
    my %errors;
    for my $name (sort keys $param->%*) {
        my $property = $schema->{properties}->{$name};
        my $problem  = $property ? problem_of($param->{$name}, $property) : 'property is not defined in schema';
        $errors{$name} = $problem if $problem;
    }
    for my $name (grep { !$schema->{properties}->{$_}->{optional} } keys $schema->{properties}->%*) {
        $errors{$name} //= 'property is missing and it is not optional' if !defined($param->{$name});
    }
    PVE::Exception::raise("Parameter verification failed.\n", code => 400, errors => \%errors) if %errors;
    return { map { $_ => $param->{$_} =~ m/^(.*)$/s ? $1 : undef } keys $param->%* };
}

sub problem_of ($value, $property) {
    return 'type check failed' if $property->{type} eq 'integer' && $value !~ m/\A-?[0-9]+\z/;
    return 'too small'         if defined($property->{minimum}) && $value < $property->{minimum};
    return 'too large'         if defined($property->{maximum}) && $value > $property->{maximum};
    return 'too short'         if defined($property->{minLength}) && length($value) < $property->{minLength};
    return 'too long'          if defined($property->{maxLength}) && length($value) > $property->{maxLength};
    return 'value does not match the regex pattern'
        if defined($property->{pattern}) && $value !~ m/^$property->{pattern}$/;
    return;
}

1;
