"""TLS, as a server: certificates are read again when they are renewed."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from pathlib import Path
from typing import Final

from sidecar.errors import ConfigError

_log = logging.getLogger(__name__)
_EVERY: Final = 30.0
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Certificate:
    """A server context whose certificate follows its files; connections that exist keep theirs."""

    def __init__(self, certificate: Path, key: Path, min_version: str) -> None:
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = _VERSIONS[min_version]
        # The codec speaks HTTP/1.1 only: say so, rather than let a client guess.
        self.context.set_alpn_protocols(["http/1.1"])
        self._digest = self._read()

    def _read(self) -> str:
        """Load both files; raise ConfigError with one line that names the file."""
        digest = hashlib.sha256()
        for path in (self._certificate, self._key):
            try:
                digest.update(path.read_bytes())
            except OSError as error:
                raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
        try:
            # A context of its own first: a pair that does not fit must not spoil the one that serves.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key, password=_no_password)
            self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "not PEM, or the key does not belong to the certificate"
            raise ConfigError(f"cannot use {self._certificate} with {self._key}: {reason}") from None
        return digest.hexdigest()

    async def follow(self) -> None:
        """Look at the files again and again; a pair that cannot be used changes nothing."""
        while True:
            await asyncio.sleep(_EVERY)
            await asyncio.to_thread(self.renew)

    def renew(self) -> bool:
        """Load the files if they have changed; return whether a new certificate serves now."""
        try:
            digest = hashlib.sha256(self._certificate.read_bytes() + self._key.read_bytes()).hexdigest()
            if digest == self._digest:
                return False
            self._digest = self._read()
        except (OSError, ConfigError) as error:
            _log.error("the renewed certificate is not used: %s", error)
            return False
        _log.info("the certificate %s was renewed", self._certificate)
        return True


def _no_password() -> str:
    raise ValueError("the key is encrypted")
