"""A sidecar with its egress listener on, before a stand-in provider that only TLS and the right key open."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sidecar.secret import Secret
from sidecar.vault.models import Actor
from tests.support.language_model import LanguageModel
from tests.support.processes import free_port
from tests.support.raw import PATIENCE, Raw, connect
from tests.support.sidecar import MASTER, Running, threaded

OPERATOR = Actor("operator")
ACME_KEY = "sk-acme-0123456789abcdefghijklmnopqrstuvwxyz"
GLOBEX_KEY = "sk-globex-zyxwvutsrqponmlkjihgfedcba9876543210"
HOSTS = {"acme.example.com": "acme", "globex.example.com": "globex"}
ALLOWED = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/models", "/v1/files/*"]
T = TypeVar("T")


@dataclass
class Outbound:
    """A running sidecar and its egress listener."""

    running: Running
    port: int
    model: LanguageModel

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/openai/v1"

    def connect(self) -> Raw:
        return connect(self.port)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the sidecar's own loop."""
        assert self.running.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.running.loop).result(PATIENCE)

    @property
    def vault(self) -> Any:
        assert self.running.app is not None
        return self.running.app.vault

    def add_key(
        self, organization: str, key: str, *hosts: str, provider: str = "openai", name: str = "default"
    ) -> None:
        self.wait(
            self.vault.credentials.create(
                OPERATOR, organization, provider, Secret(key), name=name, hosts=tuple(hosts) or (self.model.host,)
            )
        )

    def handle(self, organization: str, provider: str = "openai", session: str = "") -> tuple[str, str]:
        """Make a handle; return it and its id."""
        made = self.vault.handles.create(
            OPERATOR, organization, provider, expires_at=time.time() + 3600, session=session
        )
        token, book = self.wait(made)
        return token.reveal(), book.id

    def revoke(self, organization: str, handle: str) -> None:
        self.wait(self.vault.handles.revoke(OPERATOR, organization, handle))

    def counted(self, organization: str, provider: str = "openai") -> tuple[float, float]:
        """Return the tokens that the metrics hold: input, output."""
        labels = {"organization": organization, "provider": provider}
        given, made = (
            self.running.metric("sidecar_llm_tokens_total", direction=way, **labels) for way in ("input", "output")
        )
        return given, made


@contextlib.contextmanager
def outbound(
    folder: Path,
    model: LanguageModel,
    backend: str = "http://127.0.0.1:9",
    *,
    allow: Mapping[str, list[str]] | None = None,
    egress: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Iterator[Outbound]:
    """Run a sidecar whose vault has the keys of two organizations, as far as the model takes them."""
    port = free_port()
    providers = {
        name: {"url": model.url, "allow": paths, "tls": {"ca": str(model.ca)}}
        for name, paths in (allow or {"openai": ALLOWED}).items()
    }
    with threaded(
        folder,
        backend,
        {"ENCRYPTION_KEY": MASTER},
        listen={"egress": {"address": f"127.0.0.1:{port}"}},
        egress={"providers": providers, **(egress or {})},
        organizations={"hosts": HOSTS},
        **sections,
    ) as running:
        made = Outbound(running, port, model)
        for organization, key in {"acme": ACME_KEY, "globex": GLOBEX_KEY}.items():
            if key in model.keys:
                made.add_key(organization, key)
        yield made
