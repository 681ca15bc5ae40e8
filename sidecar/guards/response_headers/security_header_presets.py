"""The presets of security headers, and why each value is what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

Headers = dict[str, str | None]

COMMON: Final[Headers] = {
    "X-Content-Type-Options": "nosniff",
    # The filter of old browsers could be turned against pages; off is the protection.
    "X-XSS-Protection": "0",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    # `no-referrer` and `same-origin` would make Origin `null` on forms that pages send to themselves.
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
    "Origin-Agent-Cluster": "?1",
}

FEATURES: Final = (
    "accelerometer",
    "browsing-topics",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "hid",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "serial",
    "usb",
)
"""Powers that pages are asked about; a chat needs few. Browsers complain about names that they do not know."""


def permissions(own: Sequence[str] = ()) -> str:
    """Write a Permissions-Policy that leaves the page itself the features in `own`, and frames nothing."""
    return ", ".join(f"{feature}=({'self' if feature in own else ''})" for feature in FEATURES)


def strict(_: Sequence[str]) -> Headers:
    """Pages whose code and style are files of their own origin, and programming interfaces."""
    return {
        **COMMON,
        "X-Frame-Options": "DENY",
        "Content-Security-Policy": (
            "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
        "Permissions-Policy": permissions(),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


APP_CSP: Final = (
    "default-src 'self'; "
    # Chat pages are built with inline code and start workers from blobs; some compile WebAssembly.
    "script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    # No foreign images: a model that was talked into it would send the conversation out in an image's address.
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; "
    # 'self' stands for the sockets of the same host as well (CSP 3 §6.7.2.8).
    "connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'self' blob: data:; "
    "manifest-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
)


def app(_: Sequence[str]) -> Headers:
    """Single-page chats: inline code, blobs, sockets, voice, sign-in windows."""
    return {
        **COMMON,
        "X-Frame-Options": "SAMEORIGIN",
        "Content-Security-Policy": f"{APP_CSP}; frame-ancestors 'self'",
        "Permissions-Policy": permissions(("microphone", "camera", "display-capture")),
        "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "unsafe-none",
    }


def embeddable(embedders: Sequence[str]) -> Headers:
    """As `app`, for widgets: framed and loaded by the pages of `cors.allowed_origins`."""
    # CSP has no spelling for IPv6 hosts, and `null` is no source.
    sources = [origin for origin in embedders if "[" not in origin and origin != "null"]
    framers = " ".join(["'self'", *sources])
    return {
        **app(embedders),
        # X-Frame-Options takes no list: frame-ancestors replaces it, and the backend's own must not contradict.
        "X-Frame-Options": None,
        "Content-Security-Policy": f"{APP_CSP}; frame-ancestors {framers}",
        "Permissions-Policy": permissions(("microphone",)),
        "Cross-Origin-Opener-Policy": "unsafe-none",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }


def none(_: Sequence[str]) -> Headers:
    """No headers of our own: the backend's pass, except those that name its software."""
    return {}


PRESETS: Final[dict[str, Callable[[Sequence[str]], Headers]]] = {
    "strict": strict,
    "app": app,
    "embeddable": embeddable,
    "none": none,
}
