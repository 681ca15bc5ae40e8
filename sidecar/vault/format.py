"""The sealed format, without any cryptography: bytes, text, additional data, payload. See FORMAT.md.

Parsing is strict: an envelope has exactly one spelling, and everything else is `Undecryptable`,
without a detail of what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from sidecar.secret import Secret
from sidecar.vault.errors import Undecryptable

MAGIC: Final = b"SCV"
FORMATS: Final = (1, 2)
CURRENT_FORMAT: Final = 2  # the first that names the row's version
KDF_PBKDF2_SHA256: Final = 1
KEY_ID_SIZE: Final = 8
SALT_SIZE: Final = 16
IV_SIZE: Final = 12  # NIST SP 800-38D §5.2.1.1: 96 bits is the length that needs no hashing
TAG_SIZE: Final = 16
MIN_ITERATIONS: Final = 100_000
MAX_ITERATIONS: Final = 5_000_000  # a forged envelope must not buy minutes of our CPU
MAX_ENVELOPE: Final = 64 * 1024
_PREFIXES: Final = {f"scv{number}:": number for number in FORMATS}

_HEADER: Final = struct.Struct(f">3sBBI{KEY_ID_SIZE}s{SALT_SIZE}s{IV_SIZE}s")
HEADER_SIZE: Final = _HEADER.size


@dataclass(frozen=True, slots=True)
class Envelope:
    """One sealed entry. `sealed` is the ciphertext with its 16-byte tag at the end."""

    iterations: int
    key_id: bytes
    salt: bytes
    iv: bytes
    sealed: bytes = b""
    format: int = CURRENT_FORMAT

    def header(self) -> bytes:
        """Return the 45 bytes before the ciphertext; they are authenticated with it."""
        return _HEADER.pack(MAGIC, self.format, KDF_PBKDF2_SHA256, self.iterations, self.key_id, self.salt, self.iv)

    def to_bytes(self) -> bytes:
        """Return the stored form: header, ciphertext, tag (FORMAT.md)."""
        return self.header() + self.sealed

    def to_text(self) -> str:
        """Return what is in a database column: `scv2:` and base64url without padding."""
        return f"scv{self.format}:" + base64.urlsafe_b64encode(self.to_bytes()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Binding:
    """Where an entry belongs; it does not open anywhere else. `version` is the row's, from format 2 on."""

    organization: str
    credential: str
    provider: str
    version: int


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sealed: the value, where it may be sent, and until when (epoch seconds, or None)."""

    value: Secret
    hosts: tuple[str, ...]
    expires_at: int | None


def parse_bytes(data: bytes) -> Envelope:
    """Return the envelope, or raise Undecryptable."""
    if not HEADER_SIZE + TAG_SIZE <= len(data) <= MAX_ENVELOPE:
        raise Undecryptable
    magic, version, kdf, iterations, key_id, salt, iv = _HEADER.unpack_from(data)
    if (magic, kdf) != (MAGIC, KDF_PBKDF2_SHA256) or version not in FORMATS:
        raise Undecryptable
    if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
        raise Undecryptable
    return Envelope(iterations, key_id, salt, iv, data[HEADER_SIZE:], version)


def parse_text(text: str) -> Envelope:
    """Return the envelope, or raise Undecryptable."""
    prefix, body = text[:5], text[5:]
    if prefix not in _PREFIXES or len(text) > 2 * MAX_ENVELOPE:
        raise Undecryptable
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Undecryptable from None
    envelope = parse_bytes(data)
    # Base64 has several spellings of one value (unused low bits, `+` for `-`, padding); we accept one.
    # So is a prefix of another format.
    if envelope.to_text() != text:
        raise Undecryptable
    return envelope


def format_of(text: str) -> int:
    """Return the format that an envelope's prefix names, 0 for none."""
    return _PREFIXES.get(text[:5], 0)


def additional_data(envelope: Envelope, binding: Binding) -> bytes:
    """Return the header, then organization, credential id and provider, each with its length, then the row's version.

    The header holds format, KDF, iterations, key id, salt and IV. Format 1 ends before the row's version.
    """
    parts = [envelope.header()]
    for field in (binding.organization, binding.credential, binding.provider):
        encoded = field.encode()
        parts += [struct.pack(">H", len(encoded)), encoded]
    if envelope.format > 1:
        if not 0 <= binding.version < 2**64:
            raise Undecryptable
        parts.append(struct.pack(">Q", binding.version))
    return b"".join(parts)


def encode_payload(payload: Payload) -> bytes:
    """Return the plaintext: a JSON object with sorted keys and no white space."""
    fields = {"expires_at": payload.expires_at, "hosts": list(payload.hosts), "value": payload.value.reveal()}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def decode_payload(plain: bytes) -> Payload:
    """Return the payload, or raise Undecryptable."""
    try:
        fields: Any = json.loads(plain)
    except ValueError:
        raise Undecryptable from None
    if not isinstance(fields, dict) or set(fields) != {"expires_at", "hosts", "value"}:
        raise Undecryptable
    expires_at, hosts, value = fields["expires_at"], fields["hosts"], fields["value"]
    dated = expires_at is None or type(expires_at) is int
    listed = isinstance(hosts, list) and all(isinstance(host, str) for host in hosts)
    if not (dated and listed and isinstance(value, str)):
        raise Undecryptable
    return Payload(Secret(value), tuple(hosts), expires_at)
