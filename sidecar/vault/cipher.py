"""All of the cryptography that seals: PBKDF2-HMAC-SHA-256 and AES-256-GCM, and the random salt and IV.

Nothing else in the product makes an IV or calls AES. The functions are pure but for the system's
random source; deriving is slow on purpose and belongs in a thread (`keys.py` does that).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from sidecar.vault.errors import Undecryptable
from sidecar.vault.format import (
    IV_SIZE,
    MAX_ITERATIONS,
    MIN_ITERATIONS,
    SALT_SIZE,
    Binding,
    Envelope,
    Payload,
    additional_data,
    decode_payload,
    encode_payload,
)

KEY_SIZE: Final = 32  # AES-256
DEFAULT_ITERATIONS: Final = 600_000  # OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256


def derive(password: bytes, salt: bytes, iterations: int) -> bytes:
    """Return a 32-byte key. About 70 ms at 600 000 iterations; it lets other threads run."""
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise ValueError(f"iterations must be between {MIN_ITERATIONS} and {MAX_ITERATIONS}")
    return PBKDF2HMAC(algorithm=SHA256(), length=KEY_SIZE, salt=salt, iterations=iterations).derive(password)


def subkey(root: bytes, purpose: str) -> bytes:
    """Return the 32-byte key of one purpose below a root: HMAC-SHA-256 of its name."""
    return hmac.digest(root, purpose.encode(), hashlib.sha256)


def new_salt() -> bytes:
    """Return a random salt for the derivation of a key (NIST SP 800-132 §5.1)."""
    return os.urandom(SALT_SIZE)


def seal(key: bytes, blank: Envelope, binding: Binding, payload: Payload) -> Envelope:
    """Return `blank` (iterations, key id and salt of `key`) with a fresh IV and the sealed payload."""
    fresh = replace(blank, iv=os.urandom(IV_SIZE))
    sealed = AESGCM(key).encrypt(fresh.iv, encode_payload(payload), additional_data(fresh, binding))
    return replace(fresh, sealed=sealed)


def unseal(key: bytes, envelope: Envelope, binding: Binding) -> Payload:
    """Return the payload, or raise Undecryptable."""
    try:
        plain = AESGCM(key).decrypt(envelope.iv, envelope.sealed, additional_data(envelope, binding))
    except (InvalidTag, ValueError):
        raise Undecryptable from None
    return decode_payload(plain)
