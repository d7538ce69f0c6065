package PVE::JSONSchema;

# SPDX-License-Identifier: Apache-2.0
# Stand-in for the parts of PVE::JSONSchema that storages use: values of one option are checked by type, format, pattern.

use v5.36;

use Exporter qw(import);

our @EXPORT_OK = qw(get_standard_option register_format register_standard_option);
our $CONFIGID_RE = qr/[a-z][a-z0-9_-]+/i;

my %formats = (
    'pve-storage-path'   => qr!/.+!,
    'pve-storage-vgname' => qr/[A-Za-z0-9._-][A-Za-z0-9._+-]*/,
    'pve-storage-id'     => qr/[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]/,
);
my %standard = (
    'pve-node' => { description => 'The cluster node name.', type => 'string', pattern => '[a-zA-Z0-9-]+' },
    'pve-vmid' => { description => 'The (unique) ID of the VM.', type => 'integer', minimum => 100, maximum => 999999999 },
);

sub register_format ($name, $check, @) { $formats{$name} = $check; return }

sub register_standard_option ($name, $schema) { $standard{$name} = $schema; return }

sub get_standard_option ($name, $more = {}) { return { ($standard{$name} // {})->%*, $more->%* } }

sub parse_storage_id ($id, $noerr = undef) {
    return $id if $id =~ m/\A$formats{'pve-storage-id'}\z/;
    return     if $noerr;
    die "storage ID '$id' contains illegal characters\n";
}

# Dies if a value is not what its property allows.
sub check_property ($key, $value, $schema) {
    if ($schema->{type} eq 'boolean') {
        die "$key: type check ('boolean') failed\n" if $value !~ m/\A[01]\z/;
    }
    if (my $format = $schema->{format}) {
        my $check = $formats{$format} // die "no format '$format'\n";
        if (ref($check) eq 'CODE') {
            $check->($value);
        } else {
            die "$key: invalid format - '$value'\n" if $value !~ m/\A(?:$check)\z/;
        }
    }
    if (my $pattern = $schema->{pattern}) {
        die "$key: value does not match the regex pattern\n" if $value !~ m/^$pattern$/;
    }
    return;
}

1;
