"""Makes packets.txt: what OpenSSL (through the Python package `cryptography`) seals.

    python3 packets.py > packets.txt

Each line: cipher, MAC (or -), SHA-256 of five sealed packets one after the other. Keys, IVs,
packets and sequence numbers are those of `oracle_packets` in ../vectors.rs.
"""
import hashlib, hmac, struct, sys
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305
try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:
    TripleDES = algorithms.TripleDES

def pattern(n, salt):
    return bytes((i * 7 + salt) & 0xff for i in range(n))

CIPHERS = [  # name, key length, IV length, block
    ("aes128-gcm@openssh.com", 16, 12, 16), ("aes256-gcm@openssh.com", 32, 12, 16),
    ("chacha20-poly1305@openssh.com", 64, 0, 8),
    ("aes128-ctr", 16, 16, 16), ("aes192-ctr", 24, 16, 16), ("aes256-ctr", 32, 16, 16),
    ("aes128-cbc", 16, 16, 16), ("aes192-cbc", 24, 16, 16), ("aes256-cbc", 32, 16, 16),
    ("3des-cbc", 24, 8, 8),
]
MACS = [  # name, hash, tag length
    ("hmac-sha2-256-etm@openssh.com", "sha256", 32), ("hmac-sha2-512-etm@openssh.com", "sha512", 64),
    ("hmac-sha2-256", "sha256", 32), ("hmac-sha2-512", "sha512", 64),
    ("hmac-sha1-etm@openssh.com", "sha1", 20), ("hmac-sha1", "sha1", 20),
    ("hmac-sha1-96", "sha1", 12), ("hmac-md5", "md5", 16),
]
BODY_BLOCKS = [1, 2, 3, 17, 2048]
FIRST_SEQ = 0xfffffffe  # so that the sequence number wraps

def packet(blocks, block, length_in_block):
    body = blocks * block - (4 if length_in_block else 0)
    return struct.pack(">I", body) + pattern(body, blocks & 0xff)

def chacha(key, seq, counter, data):
    nonce = struct.pack("<Q", counter) + struct.pack(">Q", seq)
    return Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(data)

def aead(name, key, iv, block):
    counter = int.from_bytes(iv[4:], "big") if iv else 0
    for i, blocks in enumerate(BODY_BLOCKS):
        seq, p = (FIRST_SEQ + i) & 0xffffffff, packet(blocks, block, False)
        if name.startswith("aes"):
            nonce = iv[:4] + ((counter + i) % 2**64).to_bytes(8, "big")
            yield p[:4] + AESGCM(key).encrypt(nonce, p[4:], p[:4])
        else:
            sealed = chacha(key[32:], seq, 0, p[:4]) + chacha(key[:32], seq, 1, p[4:])
            yield sealed + Poly1305.generate_tag(chacha(key[:32], seq, 0, bytes(32)), sealed)

def with_mac(name, key, iv, block, mac, alg, tag):
    mac_key = pattern(hashlib.new(alg).digest_size, 3)
    algorithm = TripleDES(key) if name.startswith("3des") else algorithms.AES(key)
    enc = Cipher(algorithm, modes.CBC(iv) if name.endswith("cbc") else modes.CTR(iv)).encryptor()
    etm = "-etm@" in mac
    for i, blocks in enumerate(BODY_BLOCKS):
        seq, p = struct.pack(">I", (FIRST_SEQ + i) & 0xffffffff), packet(blocks, block, not etm)
        sealed = p[:4] + enc.update(p[4:]) if etm else enc.update(p)
        yield sealed + hmac.new(mac_key, seq + (sealed if etm else p), alg).digest()[:tag]

for name, key_len, iv_len, block in CIPHERS:
    key, iv = pattern(key_len, 1), pattern(iv_len, 0xf2)
    if "gcm" in name or "chacha" in name:
        print(name, "-", hashlib.sha256(b"".join(aead(name, key, iv, block))).hexdigest())
        continue
    for mac, alg, tag in MACS:
        print(name, mac, hashlib.sha256(b"".join(with_mac(name, key, iv, block, mac, alg, tag))).hexdigest())
