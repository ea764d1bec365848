#!/bin/sh
# Makes key files in the formats of OpenSSL and PuTTY from three keys of ssh-keygen, with derivations that cost nothing.
# Tests read the committed files and need no program. The passphrase is "konko test"; no key here opens anything.
# NAME-KEY holds the private half of KEY.pub.
set -eu
cd "$(dirname "$0")"
find . -type f ! -name generate.sh -delete
pass="konko test"
printf %s "$pass" >pass && : >none
ssh-keygen -q -N "" -C "rsa comment" -t rsa -b 1024 -m PEM -f plain-rsa
ssh-keygen -q -N "" -C "ecdsa comment" -t ecdsa -m PEM -f plain-ecdsa
ssh-keygen -q -N "" -C "ed25519 comment" -t ed25519 -f openssh-ed25519
openssl genpkey -algorithm ed25519 -out pkcs8-openssl
for key in rsa ecdsa; do mv plain-$key.pub $key.pub; done
mv openssh-ed25519.pub ed25519.pub
{ printf 'ssh-ed25519 '; { printf '\000\000\000\013ssh-ed25519\000\000\000\040'
    openssl pkey -in pkcs8-openssl -pubout -outform DER | tail -c 32; } | base64 -w0; echo; } >openssl.pub

# OpenSSL: DEK-Info, PBES2, parameters of the curve written out.
for cipher in aes128 aes192 aes256 des3; do
    openssl rsa -in plain-rsa -$cipher -traditional -passout "pass:$pass" -out dek_$cipher-rsa
    openssl ec -in plain-ecdsa -$cipher -passout "pass:$pass" -out dek_$cipher-ecdsa
done
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc des3; do
    openssl pkcs8 -topk8 -in plain-ecdsa -v2 $cipher -iter 2 -passout "pass:$pass" -out pbes2_$cipher-ecdsa
done
for prf in hmacWithSHA1 hmacWithSHA384 hmacWithSHA512; do
    openssl pkcs8 -topk8 -in plain-rsa -v2 aes-128-cbc -v2prf $prf -iter 2 -passout "pass:$pass" -out pbes2_$prf-rsa
done
scrypt="-scrypt -scrypt_N 2 -scrypt_r 1 -scrypt_p 1"
openssl pkcs8 -topk8 -in plain-ecdsa $scrypt -passout "pass:$pass" -out scrypt-ecdsa
openssl pkcs8 -topk8 -in pkcs8-openssl $scrypt -passout "pass:$pass" -out scrypt-openssl
openssl pkcs8 -topk8 -nocrypt -in plain-ecdsa -out pkcs8-ecdsa
openssl pkcs8 -topk8 -nocrypt -in plain-rsa -out pkcs8-rsa
openssl ec -in plain-ecdsa -param_enc explicit -out explicit-ecdsa
openssl ec -in plain-ecdsa -param_enc explicit -conv_form compressed -out explicit_compressed-ecdsa
openssl pkcs8 -topk8 -nocrypt -in explicit-ecdsa -out explicit_pkcs8-ecdsa

# PuTTY: both versions, and ssh.com's for RSA.
for key in rsa ecdsa ed25519; do
    from=plain-$key && [ -f $from ] || from=openssh-$key
    argon2="kdf=argon2id,memory=8,passes=1"
    for version in 2 3; do
        puttygen $from -C "$key comment" -O private --ppk-param version=$version --new-passphrase none -o ppk$version-$key
        puttygen $from -C "$key comment" -O private --ppk-param version=$version,$argon2 --new-passphrase pass \
            -o ppk${version}_encrypted-$key
    done
done
for flavour in argon2i argon2d; do
    puttygen openssh-ed25519 -C "ed25519 comment" -O private --ppk-param kdf=$flavour,memory=8,passes=2 \
        --new-passphrase pass -o ppk3_$flavour-ed25519
done
puttygen plain-rsa -C "rsa comment" -O private-sshcom --new-passphrase none -o sshcom-rsa
puttygen plain-rsa -C "rsa comment" -O private-sshcom --new-passphrase pass -o sshcom_encrypted-rsa

# OpenSSH's own ciphers, for the smallest of its files; 3des is what no provider has.
for cipher in aes256-ctr aes128-cbc aes256-gcm@openssh.com chacha20-poly1305@openssh.com 3des-cbc; do
    name=openssh_${cipher%%@*}-ed25519
    cp openssh-ed25519 $name
    ssh-keygen -q -p -a 1 -P "" -N "$pass" -Z $cipher -f $name >/dev/null
done

# Public keys.
for key in rsa ecdsa; do
    ssh-keygen -e -m RFC4716 -f $key.pub >$key.rfc4716
    ssh-keygen -e -m PKCS8 -f $key.pub >$key.spki
done
ssh-keygen -e -m PEM -f rsa.pub >rsa.pkcs1
puttygen openssh-ed25519 -C "ed25519 comment" -O public -o ed25519.rfc4716
openssl pkey -in pkcs8-openssl -pubout -out openssl.spki
openssl ec -in plain-ecdsa -param_enc explicit -pubout -out ecdsa.explicit
for key in rsa ecdsa ed25519 openssl; do
    for hash in sha256 md5; do
        printf '%s %s\n' $hash "$(ssh-keygen -l -E $hash -f $key.pub)"
        ssh-keygen -lv -E $hash -f $key.pub | tail -n +2
    done >$key.print
done
rm -f pass none
