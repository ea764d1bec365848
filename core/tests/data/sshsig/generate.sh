#!/bin/sh
# Makes the signatures anew: for each key and hash, one of `message` for the namespace "file".
set -eu
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -r "$keys"' EXIT
for key in ed25519 rsa ecdsa256 ecdsa384 ecdsa521; do
    install -m 600 "../keys/$key" "$keys/$key"
    for hash in sha256 sha512; do
        ssh-keygen -q -Y sign -f "$keys/$key" -n file -O hashalg=$hash - < message > "$key-$hash.sig"
    done
done
