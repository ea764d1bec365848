#!/bin/sh
# Makes the differential corpus: what `ssh-keygen -F` finds for each query. Tests read the result.
set -eu
cd "$(dirname "$0")"
k() { cut -d' ' -f1,2 ../keys/$1.pub; }
{
    echo "# a comment"
    echo
    echo "plain.example $(k ed25519)"
    echo "UPPER.Example,192.0.2.1,2001:db8::1 $(k ecdsa256) with a comment"
    echo "[ported.example]:2222,[192.0.2.1]:2222 $(k rsa)"
    echo "*.wild.example,!not.wild.example $(k ecdsa384)"
    echo "!not.first.example,*.first.example $(k ecdsa384)"
    echo "[*.portwild.example]:* $(k ecdsa521)"
    printf 'tabs.example\t %s\tcomment\n' "$(k ed25519 | tr ' ' '\t')"
    echo "  indented.example $(k ed25519)"
    echo "h?st.example $(k ed25519)"
    echo "fe80::1%eth0 $(k ed25519)"
    echo "plain.example $(k rsa)"
    echo "several.example,several.example,other.example $(k ed25519)"
    echo "@revoked *.revoked.example $(k rsa)"
    echo "@cert-authority *.ca.example $(k ecdsa256)"
    echo "@unknown marker.example $(k ed25519)"
    echo "broken.example ssh-ed25519 AAAA"
    echo "mismatch.example ssh-rsa $(k ed25519 | cut -d' ' -f2)"
} >known_hosts
# ssh-keygen refuses to hash a file with damaged lines.
grep -v -e ^@unknown -e ^broken -e ^mismatch known_hosts >plain
ssh-keygen -q -H -f plain >/dev/null 2>&1 || true
mv plain known_hosts.hashed
rm -f plain.old
for file in known_hosts known_hosts.hashed; do
    for query in plain.example Plain.Example UPPER.Example upper.example 192.0.2.1 2001:db8::1 ported.example \
        '[ported.example]:2222' '[192.0.2.1]:2222' '[ported.example]:2223' a.wild.example not.wild.example wild.example \
        not.first.example yes.first.example '[a.portwild.example]:99' a.portwild.example tabs.example indented.example \
        host.example hoost.example fe80::1%eth0 several.example other.example x.revoked.example x.ca.example \
        marker.example broken.example mismatch.example nowhere.example; do
        lines=$(ssh-keygen -F "$query" -f $file 2>/dev/null | sed -n 's/^# Host .* found: line \([0-9]*\).*/\1/p' | tr '\n' ' ')
        echo "$file $query $lines"
    done
done >expected.txt
