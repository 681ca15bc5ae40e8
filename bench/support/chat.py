"""The guarded chat of the benchmarks: its policy, its clients, and what a browser behind a proxy sends for them."""

from __future__ import annotations

from typing import Final

ORIGIN: Final = "https://your-website.com"
CLIENTS: Final = 4096
ANSWER: Final = (
    '{"reply":"Hello! Your order has been sent and will arrive tomorrow; you can follow it on our page.",'
    '"sessionId":null,"usage":{"total_tokens":42}}'
)
KEY: Final = "sk-proj-0123456789abcdef0123456789abcdef0123456789abcdefT3BlbkFJ0123456789abcdef0123456789abcdef01234567"
POLICY: Final = """
version: 1
listen: {{ public: {{ address: "127.0.0.1:{port}" }}, management: {{ address: "127.0.0.1:{management}" }}, drain_delay: 0s, drain: 0s }}
backend: {{ url: "http://127.0.0.1:{backend}" }}
clients: {{ ban: null, trusted_proxies: [127.0.0.1] }}
requests: {{ concurrent_per_client: 1000 }}
cors: {{ allowed_origins: ["https://your-website.com"] }}
sessions: {{ mode: issue }}
events: {{ log: null, file: "{folder}/events.log" }}
rate_limits:
  - {{ name: ip-minute, per: ip, limit: 1000000, window: 1m }}
  - {{ name: ip-hour, per: ip, limit: 1000000, window: 1h }}
  - {{ name: org-hour, per: organization, limit: 1000000, window: 10s }}
routes:
  - name: chat
    match: {{ path: /api/chat, methods: [POST] }}
    message: {{ fields: ["$.message"], max_chars: 1000, markup: escape }}
    session: required
"""
CREDENTIAL: Final = "    credential: { provider: openai, as: header }\n"
_MESSAGES: Final = (
    "Hello, can you help me with my order number 12345? It has not arrived yet.",
    "What is the weather like in Paris today, and should I bring an umbrella?",
    "My code says that 3 < 5 && a[i] > b is true, why is that so? Thank you \\u00e9\\ud83d\\ude00",
    "Hello! Could you make <b>this word</b> bold for me and tell me about the price?",
)
"""As people write: one in four is rewritten."""
MESSAGES: Final = len(_MESSAGES)
_AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"


def address_of(client: int) -> str:
    """Return the address of the n-th client."""
    return f"10.{20 + (client >> 16)}.{(client >> 8) & 255}.{client & 255}"


def chat_request(client: int, session_id: str, accept: str = "*/*", message: int | None = None) -> bytes:
    """Return a chat message of the n-th client, with fifteen header lines; the n-th of the messages, unless told."""
    text = _MESSAGES[(client if message is None else message) % MESSAGES]
    body = f'{{"sessionId":"{session_id}","message":"{text}"}}'.encode()
    lines = [
        "POST /api/chat HTTP/1.1",
        "Host: chat.example.com",
        f"User-Agent: {_AGENT}",
        f"Accept: {accept}",
        "Accept-Language: en-US,en;q=0.9",
        "Accept-Encoding: gzip, deflate, br, zstd",
        f"Origin: {ORIGIN}",
        f"Referer: {ORIGIN}/support",
        "Sec-Fetch-Dest: empty",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Site: same-site",
        f"X-Session-ID: {session_id}",
        f"X-Forwarded-For: {address_of(client)}",
        "X-Forwarded-Proto: https",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def session_request(client: int) -> bytes:
    """Return the n-th client's request for a session."""
    lines = [
        "POST /api/session HTTP/1.1",
        "Host: chat.example.com",
        f"Origin: {ORIGIN}",
        f"X-Forwarded-For: {address_of(client)}",
        "X-Forwarded-Proto: https",
        "Content-Length: 0",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
