"""Where events are posted, in which form, and how a receiver knows that they are ours."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sidecar.errors import ConfigError
from sidecar.policy.backend_target import client_context
from sidecar.policy.schema.content import Webhook as WebhookSchema
from sidecar.policy.schema.string_types import goes_in_clear
from sidecar.secret import Secret
from sidecar.vocabulary import Category, Event, Level

TIMEOUT: Final = 5.0
LONGEST_LINE: Final = 700
"""Characters of one event's facts in a chat message."""
PREFIX: Final = "whsec_"
"""Begins a secret that is written as Standard Webhooks writes them: base64 follows."""


class NotTaken(OSError):
    """A receiver's status that is not 2xx. `final`: the same body would never be taken; `after`: seconds to wait."""

    def __init__(self, status: int, retry_after: str = "") -> None:
        super().__init__(f"status {status}")
        self.final = status in (400, 413, 422)
        self.after = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver. `url` is a Secret: those of chat systems are all that is needed to write there.

    events     what is sent; None: AUDIT, warnings, errors, and every policy that was taken over
    at_once    events of one body
    retry_for  seconds after which a body that was not taken is given up
    """

    url: Secret
    form: str
    events: frozenset[Event] | None
    retry_for: float
    secret: Secret | None
    tls: ssl.SSLContext | None = None

    def chooses(self, event: Event) -> bool:
        """Return whether events of this kind are sent."""
        if self.events is not None:
            return event in self.events
        return event.category is Category.AUDIT or event.level is not Level.INFO or event is Event.POLICY_RELOADED

    @property
    def at_once(self) -> int:
        """How many events one body holds at most."""
        return {"json": 100, "slack": 20, "pagerduty": 1}[self.form]

    def body(self, lines: Sequence[bytes]) -> bytes:
        """Return what is posted for some events, each a line of JSON."""
        if self.form == "json":
            return b"[" + b",".join(line.rstrip() for line in lines) + b"]"
        events = [json.loads(line) for line in lines]
        if self.form == "slack":
            return json.dumps({"text": "\n".join(map(_sentence, events))}).encode()
        return json.dumps(_page(events[0], self.secret.reveal() if self.secret is not None else "")).encode()

    def headers(self, body: bytes, message_id: str, now: float) -> dict[str, str]:
        """Return the headers of one try, signed as Standard Webhooks has it where there is a secret."""
        headers = {"Content-Type": "application/json", "User-Agent": "chat-sidecar"}
        if self.form != "json":
            return headers
        headers |= {"webhook-id": message_id, "webhook-timestamp": str(int(now))}
        if self.secret is not None:
            signed = f"{message_id}.{int(now)}.".encode() + body
            mac = hmac.digest(key_of(self.secret), signed, hashlib.sha256)
            headers["webhook-signature"] = f"v1,{base64.b64encode(mac).decode()}"
        return headers


def key_of(secret: Secret) -> bytes:
    """Return the bytes that sign: what `whsec_…` encodes, else the text itself."""
    text = secret.reveal()
    if text.startswith(PREFIX):
        try:
            return base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            raise ConfigError("WEBHOOK_SECRET begins with whsec_, and no base64 follows") from None
    return text.encode()


def target_of(schema: WebhookSchema | None, url: Secret | None, secret: Secret | None) -> Target | None:
    """Return where a policy's events go; `url` and `secret` are the environment's. ConfigError: one is missing."""
    if schema is None:
        return None
    if schema.url is None and url is None:
        raise ConfigError("events.webhook has no url, and WEBHOOK_URL is not set; set one of them")
    if schema.url is None and url is not None and not _is_safe(url.reveal()):
        raise ConfigError("WEBHOOK_URL must be an https URL (http to this machine only)")
    if schema.form == "pagerduty" and secret is None:
        raise ConfigError("WEBHOOK_SECRET is not set, and events.webhook.format: pagerduty needs the integration key")
    if secret is not None:
        key_of(secret)
    chosen = None if schema.events is None else frozenset(Event[name] for name in schema.events)
    address = Secret(schema.url) if schema.url is not None else url
    assert address is not None
    tls = client_context(schema.ca) if address.reveal().startswith("https:") else None
    return Target(address, schema.form, chosen, schema.retry_for, secret, tls)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not goes_in_clear(url)


Post = Callable[[Target, bytes, Mapping[str, str]], None]
"""Sends one body. OSError: it was not taken (`NotTaken`: by its status)."""


def post(target: Target, body: bytes, headers: Mapping[str, str]) -> None:
    """POST a body; OSError when it was not taken with a 2xx. Redirects are not followed. Blocks for some seconds."""
    parts = urlsplit(target.url.reveal())
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=target.tls)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with closing(connection):
        try:
            connection.request("POST", path, body, dict(headers))
            with closing(connection.getresponse()) as answer:
                if not 200 <= answer.status < 300:
                    raise NotTaken(answer.status, answer.headers.get("Retry-After", ""))
        except http.client.HTTPException as error:
            raise OSError(type(error).__name__) from None


def _sentence(line: Mapping[str, Any]) -> str:
    """Return an event as one line of Slack's mrkdwn; what clients named cannot become a link or a mention."""
    facts = [line["method"], line["path"], line["client_ip"], line["organization"], line["request_id"]]
    detail = [f"{name}={value}" for name, value in line["detail"].items()]
    text = " ".join(str(fact) for fact in (*facts, *detail) if fact)[:LONGEST_LINE]
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    mark = {"info": "", "warning": ":warning: ", "error": ":rotating_light: "}[line["level"]]
    return f"{mark}*{line['event']}* {line['outcome']} {safe}".rstrip()


def _page(line: Mapping[str, Any], routing_key: str) -> dict[str, Any]:
    """Return an event as PagerDuty's Events API 2 takes it; one incident for each event, organization and client."""
    about = [str(line[name]) for name in ("event", "organization", "client_ip") if line[name]]
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": "/".join(about)[:255],
        "payload": {
            "summary": f"{line['event']} {line['outcome']} {' '.join(about[1:])}".strip()[:1024],
            "severity": line["level"],
            "source": socket.gethostname(),
            "component": line["route"] or "sidecar",
            "class": line["event"],
            "timestamp": line["ts"],
            "custom_details": line,
        },
    }
