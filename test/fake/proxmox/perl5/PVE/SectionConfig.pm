package PVE::SectionConfig;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for PVE::SectionConfig, the file format of storage.cfg: sections "TYPE: ID" of indented "option value" lines,
# with one list of properties for all types.

use v5.36;

use PVE::JSONSchema;

sub register ($class) {
    my $data = $class->private();
    die "duplicate plugin registration\n" if $data->{plugins}->{ $class->type() };
    $data->{plugins}->{ $class->type() }    = $class;
    $data->{plugindata}->{ $class->type() } = $class->plugindata();
    return;
}

# Dies if two types define the same property, or one uses a property that nobody defines.
sub init ($class) {
    my $data = $class->private();
    my %list = ($data->{propertyList} // {})->%*;
    for my $type (sort keys $data->{plugins}->%*) {
        my $properties = $data->{plugins}->{$type}->properties();
        for my $name (keys $properties->%*) {
            die "duplicate property '$name'\n" if $list{$name};
            $list{$name} = { $properties->{$name}->%*, optional => 1 };
        }
    }
    for my $type (sort keys $data->{plugins}->%*) {
        my $options = $data->{plugins}->{$type}->options();
        for my $name (keys $options->%*) {
            die "undefined property '$name'\n" if !$list{$name};
        }
        $data->{options}->{$type} = $options;
    }
    $data->{all} = \%list;
    return;
}

sub properties ($class) { return {} }
sub options ($class)    { return {} }
sub plugindata ($class) { return {} }

sub lookup ($class, $type) {
    return $class->private()->{plugins}->{ $type // '' } // die "unknown section type '" . ($type // '') . "'\n";
}

sub lookup_types ($class) { return [sort keys $class->private()->{plugins}->%*] }

sub check_value ($class, $type, $key, $value, $id, $skip_schema = 0) {
    my $data = $class->private();
    return $value if $key eq 'type';
    die "unexpected property '$key'\n" if !$data->{options}->{$type}->{$key};
    PVE::JSONSchema::check_property($key, $value, $data->{all}->{$key}) if !$skip_schema;
    return $value;
}

sub check_config ($class, $id, $config, $create, $skip_schema = 0) {
    my $type     = $class->type();
    my $options  = $class->private()->{options}->{$type};
    my $settings = { type => $type };
    for my $key (sort keys $config->%*) {
        die "can't change value of fixed parameter '$key'\n" if !$create && ($options->{$key} // {})->{fixed};
        my $value = $class->check_value($type, $key, $config->{$key}, $id, $skip_schema);
        $settings->{$key} = $class->decode_value($type, $key, $value);
    }
    if ($create) {
        for my $key (grep { !$options->{$_}->{optional} } sort keys $options->%*) {
            die "missing value for required option '$key'\n" if !defined($config->{$key});
        }
    }
    return $settings;
}

sub decode_value ($class, $type, $key, $value) { return $value }
sub encode_value ($class, $type, $key, $value) { return $value }

# Sections of unknown types, and options that are not theirs, are told on stderr and left out. A section's type checks it
# as it checks a new one; what it refuses is there, and undefined.
sub parse_config ($class, $file, $raw) {
    my $config  = { ids => {}, order => {} };
    my $types   = $class->private()->{plugins};
    my %section = ();
    my @ids     = ();
    my $id;
    for my $line (split(/\n/, $raw // '')) {
        if ($line =~ m/\A(\S+):\s*(\S+)\s*\z/) {
            ($id, my $type) = ($2, $1);
            if (!$types->{$type}) {
                warn "$file: skip section '$id': unsupported type '$type'\n";
                $id = undef;
                next;
            }
            $section{$id} = { type => $type };
            push @ids, $id;
        } elsif (defined($id) && $line =~ m/\A\s+(\S+)(?:\s+(.*?))?\s*\z/) {
            my ($key, $value) = ($1, $2 // 1);
            eval { $section{$id}->{$key} = $class->check_value($section{$id}->{type}, $key, $value, $id) };
            warn "$file: section '$id': $@" if $@;
        }
    }
    for my $name (@ids) {
        $config->{order}->{$name} = 1 + keys $config->{order}->%*;
        $config->{ids}->{$name} = eval { $types->{ $section{$name}->{type} }->check_config($name, $section{$name}, 1, 1) };
        warn "$file: skip section '$name': $@" if $@;
    }
    return $config;
}

sub write_config ($class, $file, $config) {
    my $text = '';
    for my $id (sort { ($config->{order}->{$a} // 99) <=> ($config->{order}->{$b} // 99) } keys $config->{ids}->%*) {
        my $section = $config->{ids}->{$id};
        $text .= "$section->{type}: $id\n";
        for my $key (sort grep { $_ ne 'type' } keys $section->%*) {
            $text .= "\t$key " . $class->encode_value($section->{type}, $key, $section->{$key}) . "\n";
        }
        $text .= "\n";
    }
    return $text;
}

1;
