#!/bin/sh
# Makes the certificates of the tests anew, with the command line of OpenSSL 3. They are valid from 2020 for about a hundred
# years, so nobody has to run this again; the keys protect nothing. Run it in this folder: ./make.sh
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
FROM=20200101000000Z
TO=21200101000000Z

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# authority NAME SUBJECT
authority() {
  mkdir "$work/$1" && : >"$work/$1/index" && echo 1000 >"$work/$1/serial"
  printf '%s\n' '[ca]' 'default_ca = this' '[this]' "dir = $work/$1" 'database = $dir/index' 'serial = $dir/serial' \
    'new_certs_dir = $dir' "certificate = $1.pem" "private_key = $work/$1/key" 'default_md = sha256' 'policy = any' \
    'unique_subject = no' 'string_mask = utf8only' '[any]' 'commonName = optional' '[req]' 'distinguished_name = name' '[name]' \
    '[authority]' 'basicConstraints = critical,CA:true' 'keyUsage = critical,keyCertSign,cRLSign' \
    'subjectKeyIdentifier = hash' >"$work/$1/config"
  key "$work/$1/key"
  openssl req -new -config "$work/$1/config" -subj "$2" -key "$work/$1/key" -out "$work/$1/request"
  openssl ca -batch -notext -config "$work/$1/config" -selfsign -keyfile "$work/$1/key" -extensions authority \
    -startdate $FROM -enddate $TO -in "$work/$1/request" -out "$1.pem" 2>/dev/null
}

# leaf AUTHORITY NAME SUBJECT FROM TO, lines of the section of names on standard input
leaf() {
  cp "$work/$1/config" "$work/leaf"
  { printf '%s\n' '[leaf]' 'basicConstraints = critical,CA:false' 'keyUsage = critical,digitalSignature' \
    'extendedKeyUsage = serverAuth,clientAuth' 'subjectAltName = @names' '[names]'; cat; } >>"$work/leaf"
  key "$2.key"
  openssl req -new -utf8 -config "$work/leaf" -subj "$3" -key "$2.key" -out "$work/request"
  openssl ca -batch -notext -utf8 -config "$work/leaf" -extensions leaf -startdate "$4" -enddate "$5" \
    -in "$work/request" -out "$2.pem" 2>/dev/null
}

LOOPBACK='DNS.1 = localhost
IP.1 = 127.0.0.1
IP.2 = ::1'

authority ca '/CN=Understudy test authority'
authority other-ca '/CN=Another test authority'
printf '%s\n' "$LOOPBACK" 'URI.1 = understudy://leader' | leaf ca server /CN=leader $FROM $TO
printf '%s\n' "$LOOPBACK" 'URI.1 = understudy://renewed' | leaf ca renewed /CN=renewed $FROM $TO
printf '%s\n' 'URI.1 = understudy://b' | leaf ca client /CN=b $FROM $TO
printf '%s\n' "$LOOPBACK" 'URI.1 = understudy://expired' | leaf ca expired /CN=expired $FROM 20210101000000Z
printf '%s\n' "$LOOPBACK" 'URI.1 = understudy://b' | leaf other-ca stranger /CN=b $FROM $TO
printf '%s\n' 'DNS.1 = other.example' 'URI.1 = understudy://other' | leaf ca elsewhere /CN=other $FROM $TO
# One name each, with another inside that must not come out of it.
printf '%s\n' "$LOOPBACK" 'URI.1 = "understudy://x, DNS:evil.example"' 'DNS.2 = "x, URI:understudy://evil"' \
  'URI.2 = "understudy://q\", DNS:evil.example"' | leaf ca hostile '/CN=x, DNS:evil.example\/CN=evil' $FROM $TO
chmod 644 ./*.pem ./*.key
