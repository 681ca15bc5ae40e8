"""Marked secrets: strings that stand nowhere else, and every spelling in which one could slip out."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

MARK = 18
"""Letters and digits of a mark: long enough to be unique, short enough to show that a secret was cut."""


def mark() -> str:
    """Return letters and digits that no other text holds."""
    return "Mk" + secrets.token_hex(MARK)[: MARK - 2].translate(str.maketrans("abc", "XyZ"))


@dataclass(frozen=True, slots=True)
class Marked:
    """One secret and the part of it that is searched for: a leak of half a secret is a leak."""

    name: str
    value: str
    mark: str

    def spellings(self) -> Iterator[bytes]:
        """Yield the mark as logs, JSON, URLs and dumps would write it."""
        raw = self.mark.encode()
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield "".join(f"%{byte:02X}" for byte in raw).encode()
        yield "".join(f"%{byte:02x}" for byte in raw).encode()
        yield "".join(f"\\u{byte:04x}" for byte in raw).encode()
        for shift in range(3):
            # Wherever the mark stands in a longer text, its base64 holds one of these three, in either alphabet.
            inner = base64.b64encode(b"\0" * shift + raw)[-(-shift * 8 // 6) :]
            whole = inner[: len(inner) - (4 if (shift + len(raw)) % 3 else 0)]
            yield whole
            yield whole.replace(b"+", b"-").replace(b"/", b"_")


def marked(name: str, form: str = "{}") -> Marked:
    """Make a secret of a form whose `{}` is the mark."""
    made = mark()
    return Marked(name, form.replace("{}", made), made)


def found(secrets_: list[Marked], places: Mapping[str, bytes]) -> list[str]:
    """Say which secret stands where, and what is around it."""
    one = {spelling: secret for secret in secrets_ for spelling in secret.spellings()}
    pattern = re.compile(b"|".join(re.escape(spelling) for spelling in one))
    return [
        f"{one[hit[0]].name} in {place}: …{text[max(0, hit.start() - 60) : hit.end() + 40]!r}"
        for place, text in places.items()
        for hit in pattern.finditer(text)
    ]


def written(secret: str) -> dict[str, bytes]:
    """Return a secret in the spellings that a careless backend gives back."""
    raw = secret.encode()
    return {
        "raw": raw,
        "json": json.dumps(secret).encode(),
        "slashes": json.dumps(secret).replace("/", "\\/").encode(),
        "url": quote(secret, safe="").encode(),
        "url-lower": re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quote(secret, safe="")).encode(),
        "base64": base64.b64encode(raw),
        "base64-bearer": base64.b64encode(b"Bearer " + raw),
        "base64-shifted": base64.b64encode(b"x" + raw),
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"="),
        "hex": raw.hex().encode(),
        "hex-upper": raw.hex().upper().encode(),
    }
