#!/bin/sh
# Makes the key corpus anew with ssh-keygen and openssl. Tests read the committed files and need
# neither. The passphrase of every encrypted key is "konko test"; no key here opens anything.
set -eu
cd "$(dirname "$0")"
find . -type f ! -name generate.sh -delete
pass="konko test"

ssh-keygen -q -N "" -C "ed25519 comment" -t ed25519 -f ed25519
for bits in 256 384 521; do
    ssh-keygen -q -N "" -C "ecdsa$bits comment" -t ecdsa -b $bits -f ecdsa$bits
done
ssh-keygen -q -N "" -C "rsa comment" -t rsa -b 2048 -f rsa
ssh-keygen -q -N "" -C "" -t rsa -b 1024 -f rsa1024

# Every cipher of OpenSSH's key files.
for cipher in aes128-ctr aes192-ctr aes256-ctr aes128-cbc aes192-cbc aes256-cbc aes128-gcm@openssh.com \
    aes256-gcm@openssh.com chacha20-poly1305@openssh.com 3des-cbc; do
    name=enc-${cipher%%@*}
    ssh-keygen -q -N "$pass" -C "$name comment" -a 2 -Z $cipher -t ed25519 -f $name
done
cp rsa enc-rsa && cp rsa.pub enc-rsa.pub && ssh-keygen -q -p -a 2 -P "" -N "$pass" -f enc-rsa >/dev/null
cp ecdsa521 enc-ecdsa521 && cp ecdsa521.pub enc-ecdsa521.pub
ssh-keygen -q -p -a 2 -P "" -N "$pass" -f enc-ecdsa521 >/dev/null

# ssh-keygen's other two formats, and openssl's own.
for key in rsa ecdsa256 ecdsa384 ecdsa521; do
    for format in PEM PKCS8; do
        to=$key-$(echo $format | tr A-Z a-z)
        cp $key $to && cp $key.pub $to.pub
        ssh-keygen -q -p -m $format -P "" -N "" -f $to >/dev/null
    done
done
openssl genpkey -algorithm ed25519 -out openssl-ed25519
ssh-keygen -y -f openssl-ed25519 >openssl-ed25519.pub 2>/dev/null ||
    # OpenSSH before 9.6 does not read these: take the point out of the SubjectPublicKeyInfo.
    { printf 'ssh-ed25519 '; { printf '\000\000\000\013ssh-ed25519\000\000\000\040'
        openssl pkey -in openssl-ed25519 -pubout -outform DER | tail -c 32; } | base64 -w0; echo; } >openssl-ed25519.pub
openssl ecparam -name secp384r1 -genkey -out openssl-ecparam # with an EC PARAMETERS block before the key
ssh-keygen -y -f openssl-ecparam >openssl-ecparam.pub
openssl ec -in ecdsa256-pem -conv_form compressed -out openssl-compressed 2>/dev/null
cp ecdsa256.pub openssl-compressed.pub

# What is refused, each with its own message.
openssl genpkey -algorithm x25519 -out bad-x25519
openssl ecparam -name secp256k1 -genkey -noout -out bad-secp256k1
openssl dsaparam -out /tmp/dsaparam.$$ 2048 2>/dev/null && openssl gendsa -out bad-dsa /tmp/dsaparam.$$ 2>/dev/null
rm -f /tmp/dsaparam.$$
openssl rsa -in rsa-pem -pubout -out bad-spki-public 2>/dev/null
ssh-keygen -e -f rsa.pub >bad-rfc4716-public
ssh-keygen -q -s ed25519 -I id -n user ecdsa256.pub && mv ecdsa256-cert.pub bad-cert.pub

for key in *.pub; do
    case $key in bad-*) continue ;; esac
    for hash in sha256 md5 sha512; do
        printf '%s %s\n' "$key" "$(ssh-keygen -l -E $hash -f "$key" | cut -d' ' -f1,2)"
    done
done >fingerprints.txt

# Signatures over the file "message", as SSHSIG, are made of the same blobs: see `openssl dgst`.
printf 'a message' >message
for bits in 256 384 521; do
    openssl dgst -sha$(echo $bits | sed s/521/512/) -sign ecdsa$bits-pem -out ecdsa$bits.sig message
done
openssl dgst -sha256 -sign rsa-pem -out rsa-256.sig message
openssl dgst -sha512 -sign rsa-pem -out rsa-512.sig message
openssl dgst -sha1 -sign rsa-pem -out rsa-1.sig message
openssl pkeyutl -sign -inkey openssl-ed25519 -rawin -in message -out openssl-ed25519.sig
