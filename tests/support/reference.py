"""The sealed format read once more, from FORMAT.md alone: shares no code with the vault.

AES and GCM are written out here, from FIPS 197 and NIST SP 800-38D; HMAC and PBKDF2 are hashlib's.
Slow and not constant in time: for tests.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any


def _double(value: int) -> int:
    return ((value << 1) ^ 0x11B) & 0xFF if value & 0x80 else value << 1


def _sbox() -> list[int]:
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= _double(p)  # times 3
        for shift in (1, 2, 4):
            q ^= q << shift
        q &= 0xFF
        q ^= 0x09 if q & 0x80 else 0  # divided by 3
        mixed = q
        rotated = q
        for _ in range(4):
            rotated = ((rotated << 1) | (rotated >> 7)) & 0xFF
            mixed ^= rotated
        box[p] = mixed ^ 0x63
        if p == 1:
            return box


_BOX = _sbox()


def _round_keys(key: bytes) -> list[bytes]:
    words = [key[i : i + 4] for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = bytes(_BOX[b] for b in word[1:] + word[:1])
            word = bytes([word[0] ^ rcon]) + word[1:]
            rcon = _double(rcon)
        elif i % 8 == 4:
            word = bytes(_BOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[i - 8], word, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def aes256(key: bytes, block: bytes) -> bytes:
    """Encrypt one block."""
    keys = _round_keys(key)
    state = bytes(a ^ b for a, b in zip(block, keys[0], strict=True))
    for number in range(1, 15):
        shifted = bytes(_BOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16))
        if number < 14:
            mixed = bytearray()
            for c in range(0, 16, 4):
                column = shifted[c : c + 4]
                whole = column[0] ^ column[1] ^ column[2] ^ column[3]
                mixed += bytes(column[i] ^ whole ^ _double(column[i] ^ column[(i + 1) % 4]) for i in range(4))
            shifted = bytes(mixed)
        state = bytes(a ^ b for a, b in zip(shifted, keys[number], strict=True))
    return state


def _times(x: int, y: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        if y >> bit & 1:
            product ^= x
        x = (x >> 1) ^ (0xE1 << 120) if x & 1 else x >> 1
    return product


def gcm_open(key: bytes, iv: bytes, sealed: bytes, additional: bytes) -> bytes | None:
    """Return the plaintext, or None when the tag does not match."""
    cipher, tag = sealed[:-16], sealed[-16:]
    h = int.from_bytes(aes256(key, bytes(16)), "big")
    hashed = 0
    padded = additional + bytes(-len(additional) % 16) + cipher + bytes(-len(cipher) % 16)
    padded += (len(additional) * 8).to_bytes(8, "big") + (len(cipher) * 8).to_bytes(8, "big")
    for at in range(0, len(padded), 16):
        hashed = _times(hashed ^ int.from_bytes(padded[at : at + 16], "big"), h)
    first = int.from_bytes(aes256(key, iv + b"\0\0\0\1"), "big")
    if (hashed ^ first).to_bytes(16, "big") != tag:
        return None
    stream = b"".join(aes256(key, iv + (2 + i).to_bytes(4, "big")) for i in range(-(-len(cipher) // 16)))
    return bytes(a ^ b for a, b in zip(cipher, stream, strict=False))


def password(secret: str, variable: str) -> bytes:
    if variable == "JWT_SECRET":
        return hmac.digest(secret.encode(), b"sidecar vault: master secret from JWT_SECRET", "sha256")
    return secret.encode()


def key_id(secret: str, variable: str) -> bytes:
    root = hashlib.pbkdf2_hmac("sha256", password(secret, variable), b"sidecar vault: root", 600_000, 32)
    return hmac.digest(root, b"key id", "sha256")[:8]


def open_entry(
    envelope: str, secret: str, variable: str, organization: str, credential: str, provider: str, version: int
) -> Any:
    """Return the parsed plaintext, or None."""
    prefix, _, text = envelope.partition(":")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    assert data[:3] + data[4:5] == b"SCV\1"
    assert data[3] in (1, 2)
    assert prefix == f"scv{data[3]}"
    header, iterations, salt, iv = data[:45], int.from_bytes(data[5:9], "big"), data[17:33], data[33:45]
    additional = header
    for field in (organization, credential, provider):
        additional += len(field.encode()).to_bytes(2, "big") + field.encode()
    if data[3] == 2:
        additional += version.to_bytes(8, "big")
    key = hashlib.pbkdf2_hmac("sha256", password(secret, variable), salt, iterations, 32)
    plain = gcm_open(key, iv, data[45:], additional)
    return None if plain is None else json.loads(plain)
